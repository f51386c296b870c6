/* The search works in a Worker, which a browser refuses to a page that was opened from a folder (file://).
 * There, and only there, an invisible frame does the Worker's work. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inner = frame.contentWindow
      this.waiting = []
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...scripts) => Promise.all(scripts.map(script => load(inner, script)))
      load(inner, address).then(() => {
        this.inner = inner
        this.waiting.splice(0).forEach(data => this.postMessage(data))
      })
    }
    postMessage(data) {
      if (this.inner) this.inner.dispatchEvent(new MessageEvent("message", { data }))
      else this.waiting.push(data)
    }
    terminate() {}
  }
  const load = (inner, address) => new Promise((done, failed) => {
    const script = inner.document.createElement("script")
    script.src = new URL(address, location.href)
    script.onload = done
    script.onerror = failed
    inner.document.body.appendChild(script)
  })
}
