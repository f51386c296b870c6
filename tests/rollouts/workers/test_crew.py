"""Workers come, go and fall silent, on a played Ray and by a played clock: who is replaced when, and when it ends."""

from __future__ import annotations

import types

import pytest

from frmdn.rollouts.workers import crew as crew_module
from frmdn.rollouts.workers import member as member_module
from frmdn.rollouts.workers.crew import Crew
from frmdn.rollouts.workers.errors import WorkerError
from frmdn.rollouts.workers.host import host_class
from frmdn.rollouts.workers.member import Stage

NEVER = float("inf")
SURVEY = host_class()().survey()


class Gone(Exception):
    pass


class Raised(Gone):
    pass


class Call:
    def __init__(self, when, value=None):
        self.when, self.value = when, value


class Actor:
    """Answers everything after a second; `plan` changes that: method -> value, or an exception, or None for never."""

    def __init__(self, fake, number):
        self.fake, self.number, self.killed = fake, number, False
        self.plan = fake.plans.get(number, fake.plans.get("all", {}))
        self.called = []

    def __getattr__(self, method):
        def remote(*words):
            self.called.append(method)
            here = {**SURVEY, "node": f"node-{self.number}", "pid": 0, "host": f"host-{self.number}"}
            value = {"survey": here, "prepare": None, "open": 2, "advance": [], "clear": None}[method]
            if method in self.plan:
                value = self.plan[method]
                if value is None:
                    return Call(NEVER)
            return Call(self.fake.now + 1, value)

        return types.SimpleNamespace(remote=remote)


class Fake:
    """A cluster and its clock in one."""

    own, where = False, "the Ray cluster at 'here'"

    def __init__(self):
        self.now, self.actors, self.plans = 0.0, [], {}
        self.head, self.free, self.alive, self.gone = True, 0.0, {}, set()
        self.ray = types.SimpleNamespace(
            wait=self.wait,
            get=self.get,
            kill=lambda actor: setattr(actor, "killed", True),
            is_initialized=lambda: True,
            exceptions=types.SimpleNamespace(RayTaskError=Raised, RayError=Gone),
        )

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def wait(self, calls, num_returns, timeout):
        first = min(call.when for call in calls)
        if timeout:
            self.now = max(self.now, min(first, self.now + timeout))
        ready = [call for call in calls if call.when <= self.now]
        return ready, [call for call in calls if call.when > self.now]

    def get(self, call):
        if isinstance(call.value, Exception):
            raise call.value
        return call.value

    def actor(self, made):
        def remote():
            self.actors.append(Actor(self, len(self.actors)))
            return self.actors[-1]

        return types.SimpleNamespace(remote=remote)

    def put(self, make):
        return make

    def pickled(self, function):
        return b""

    def processors(self):
        return 2.0, self.free

    def lost(self, node):
        return node in self.gone

    def answers(self):
        return self.head

    def pulses(self, names):
        return [str(self.now).encode() if self.alive.get(name, True) else b"old" for name in names]

    def forget(self, name):
        pass

    def release(self):
        pass


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    for module in (crew_module, member_module):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(member_module.Member.__dataclass_fields__["heard"], "default_factory", made.monotonic)
    return made


@pytest.fixture
def said(monkeypatch):
    words = []
    monkeypatch.setattr(crew_module, "say", words.append)
    return words


def polled(crew, fake, seconds):
    end, reports = fake.now + seconds, []
    while fake.now < end:
        before = fake.now
        reports += crew.poll()
        for member in crew.ready(0):
            crew.play(member, 0, [], [])
        fake.now = max(fake.now, before + 0.1)
    return reports


def test_a_worker_goes_from_its_place_to_its_runners(fake, said):
    crew = Crew(fake, 2, silence=300)
    assert crew.hire("make") == 0 and crew.hire("other") == 1
    assert [actor.called for actor in fake.actors] == [["survey", "prepare", "open", "open"]] * 2
    assert [member.slots for member in crew.members] == [{0: 2, 1: 2}] * 2 and not said


def test_fewer_processors_than_workers_is_one_line_and_the_others_join_later(fake, said):
    fake.plans = {2: {"survey": None}}
    crew = Crew(fake, 3, silence=300)
    crew.hire("make")
    assert fake.now < 20 and len(crew.ready(0)) == 2
    assert [line for line in said if "2 processors" in line and "3 workers" in line and "2 play" in line] == said != []
    waiting = crew.members[2]
    assert waiting.stage is Stage.ASKED
    fake.plans[2] = waiting.actor.plan = {}
    waiting.call = waiting.actor.survey.remote()
    polled(crew, fake, 10)
    assert waiting.stage is Stage.READY and "joins" in said[-1]
    with pytest.raises(ValueError, match="playing already"):
        crew.begin()
        crew.begin()


def test_no_processor_at_all_is_refused_in_seconds(fake):
    fake.plans = {"all": {"survey": None}}
    with pytest.raises(ValueError, match=r"has 2 processors, of which 0 are free.*each of the 1 workers takes one"):
        Crew(fake, 1, silence=300).hire("make")
    assert fake.now < 20


def test_a_lost_worker_is_reported_with_its_jobs_and_replaced(fake, said):
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    fake.actors[0].plan = {"advance": Gone("it died")}
    (report,) = polled(crew, fake, 3)[:1]
    while report.lost is None:
        (report,) = polled(crew, fake, 1)[:1]
    assert report.member.index == 0 and "it died" in report.lost and report.blame and fake.actors[0].killed
    polled(crew, fake, 10)
    assert len(fake.actors) == 3 and crew.members[0].stage is Stage.READY and "joins" in said[-1]


def test_jobs_have_no_part_in_the_loss_of_a_machine(fake, said):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    fake.actors[0].plan = {"advance": Gone("connection lost")}
    fake.gone = {"node-0"}
    assert [report.blame for report in polled(crew, fake, 3) if report.lost] == [False]


def test_a_worker_without_a_sign_of_life_is_lost_soon_and_one_that_is_slow_is_not(fake, said):
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    stopped, slow = crew.members
    for member in (stopped, slow):
        member.actor.plan = {"advance": None}
    fake.alive[stopped.name] = False
    reports = polled(crew, fake, 100)
    assert [report.member for report in reports if report.lost] == [stopped] and fake.now < 120
    assert "no sign of life" in said[0]
    lost = [report.member for report in polled(crew, fake, 250) if report.lost]
    assert lost == [slow] and any("silent for 30" in line for line in said)


def test_a_head_that_does_not_answer_ends_it_within_half_a_minute(fake):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    begin, fake.head = fake.now, False
    with pytest.raises(WorkerError, match=r"the head of the Ray cluster at 'here' no longer answers.*kept"):
        polled(crew, fake, 100)
    assert fake.now - begin < 30
    crew.close()
    assert not fake.actors[0].killed  # nothing is asked of a head that is not there: each question waits for minutes


def test_a_head_that_comes_back_in_time_is_none_the_worse(fake):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    for _ in range(3):
        fake.head = False
        polled(crew, fake, 12)
        fake.head = True
        polled(crew, fake, 12)


def test_nobody_left_and_nobody_coming_ends_it_within_a_minute(fake, said):
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    fake.plans = {"all": {"survey": None}}
    for actor in fake.actors:
        actor.plan = {"advance": Gone("node has died")}
    begin = fake.now
    with pytest.raises(WorkerError, match=r"no worker is left on the Ray cluster.*60 s.*The last: worker"):
        polled(crew, fake, 200)
    assert 50 < fake.now - begin < 80


def test_workers_that_only_die_while_they_start_end_it(fake, said):
    fake.plans = {"all": {"open": Gone("out of memory")}}
    with pytest.raises(WorkerError, match=r"3 workers in a row did not start.*out of memory"):
        Crew(fake, 1, silence=300).hire("make")


def test_one_that_cannot_start_later_leaves_the_others_in_peace(fake, said):
    """E.g. a machine with other code: named a few times, tried seldom."""
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    other = {**SURVEY, "host": "stranger", "node": "n", "pid": 1, "packages": {}}
    fake.plans = {"all": {"survey": other}}
    fake.actors[1].plan = {"advance": Gone("killed")}
    polled(crew, fake, 300)
    assert len(crew.members) >= 1 and crew.members[0].stage is Stage.READY
    refused = [line for line in said if "stranger" in line and "install torch" in line]
    assert 1 <= len(refused) <= 3 and len(fake.actors) < 25


def test_an_error_of_the_environment_ends_it(fake):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    fake.actors[0].plan = {"advance": Raised("the track is broken")}
    with pytest.raises(WorkerError, match=r"worker 0 .*raised Raised: the track is broken"):
        polled(crew, fake, 5)


def test_a_runner_that_cannot_be_made_closes_the_crew(fake, said):
    """Else some workers would wait for it for ever, and the first pool with them."""
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    for actor in fake.actors:
        actor.plan = {"open": Raised("no such world")}
    with pytest.raises(WorkerError, match="no such world"):
        crew.hire("beside")
    with pytest.raises(ValueError, match="this pool is closed"):
        crew.begin()


def test_a_worker_of_our_own_ray_that_never_starts_is_given_up(fake, said):
    fake.own = True
    fake.plans = {0: {"survey": None}}
    crew = Crew(fake, 2, silence=300)
    crew.hire("make")
    assert 290 < fake.now < 330 and len(fake.actors) == 3 and "worker 0 has been silent" in said[0]


def test_all_may_die_while_nobody_plays(fake, said):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    fake.now += 500
    fake.actors[0].plan = {"advance": Gone("node has died")}
    crew.begin()
    polled(crew, fake, 30)
    assert len(fake.actors) == 2 and crew.members[0].stage is Stage.READY


def test_who_held_jobs_at_the_end_forgets_them(fake):
    crew = Crew(fake, 1, silence=300)
    crew.hire("make")
    crew.begin()
    (member,) = crew.members
    member.jobs = ["job"]  # its last answer came, and then the caller had enough
    crew.drop()
    assert member.jobs == [] and member.actor.called[-1] == "clear"
    with pytest.raises(ValueError, match="playing already"):
        crew.begin()
        crew.hire("beside")


def test_a_closed_crew_is_closed_once(fake):
    crew, released = Crew(fake, 1, silence=300), []
    fake.release = lambda: released.append(1)
    crew.hire("make")
    crew.close()
    crew.close()
    assert released == [1]
