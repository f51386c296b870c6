"""The texts that are written: common English words, held out by name, and made-up words of their syllables."""

from __future__ import annotations

import numpy as np

LETTERS = " abcdefghijklmnopqrstuvwxyz"
WORDS = """
able about above across act action add after again age agree air allow almost alone along also always among animal
answer appear apple arm arrive art ask baby back bad bag ball bank base battle bear beat beauty bed before begin behind
believe bell belong below best better between beyond big bird bit black blood blow blue board boat body bone book born
both bottle bottom box boy branch bread break breath bridge bright bring broad brother brown build burn busy butter buy
cake call calm camp car card care carry case cat catch cause center chain chair chance change charge cheap check chief
child choice church circle city claim class clean clear climb clock close cloth cloud coal coast coat cold collect color
come common company complete control cook cool copy corn corner cost cotton count country course cover cow create cross
crowd cry cup current cut dance danger dark daughter day dead deal dear death decide deep degree depend desert design
desk develop differ dinner direct discover disease distant divide doctor dog dollar door double down draw dream dress
drink drive drop dry duck during dust duty each ear early earth east easy eat edge effect egg eight electric else end
enemy energy engine enjoy enough enter equal even evening event ever every exact example except excite exercise expect
explain express eye face fact fair fall family famous far farm fast father favor fear feed feel feet felt few field
fight figure fill final find fine finger finish fire first fish fit five flat floor flow flower fly follow food foot
force foreign forest forget form forward four free fresh friend front fruit full fun future game garden gas gather
general gentle get gift girl give glad glass go gold good govern grand grass gray great green ground group grow guess
guide gun hair half hall hand happen happy hard hat have head hear heart heat heavy help here high hill history hit
hold hole holiday home honey hope horse hospital hot hour house huge human hunt hurry husband ice idea image imagine
include inch increase indeed industry inside insect instant iron island job join journey joy judge jump just keep key
kill kind king kitchen knee knife know labor lady lake land language large last late laugh law lay lead leaf learn least
leave left leg length less lesson let letter level lie life lift light like line lion lip list listen little live local
long look lose loss lot loud love low luck lunch machine main make man many map mark market marry mass master match
matter mean measure meat medical meet melody member memory mention metal method middle might mile milk million mind mine
minute miss mix model modern moment money month moon morning mother motion mount mouth move much music must name nation
natural near neck need nerve never new next night nine noise noon north nose note nothing notice noun now number object
observe ocean offer office often oil old once open opposite orange order other over own oxygen page paint pair paper
parent part party pass past path pattern pay peace pen people perfect perhaps period person phrase picture piece pilot
place plain plan planet plant play please plenty pocket poem point police poor port pose position possible post pound
power practice prepare present press pretty price print prison prize problem process produce proper protect proud prove
provide public pull pupil pure push put quality quart queen question quick quiet quite race radio rain raise range rapid
rate rather reach read ready real reason receive record red region remember repeat reply report require rest result
rich ride right ring rise river road rock roll roof room root rope rose round row rub rule run sad safe sail salt same
sand save say scale school science score sea search season seat second secret section see seed seem select self sell
send sense sentence separate serve seven several shade shall shape share sharp sheep sheet shell shine ship shirt shoe
shop short should shoulder shout show side sight sign silent silver similar simple since sing single sister sit six size
skill skin sky sleep slip slow small smell smile smooth snow soft soil soldier solution solve some song soon sound south
space speak special speech speed spell spend spot spread spring square stand star start state station stay steam steel
step stick still stone stop store story straight strange stream street stretch string strong student study subject
substance success sudden suffix sugar suggest suit summer sun supply support sure surface surprise sweet swim symbol
system table tail take talk tall taste teach team teeth tell temple tend term test than thank theory thick thin thing
think third thought thousand thread three throat through throw thus tie time tiny tire together tone tongue tool top
total touch toward town track trade train travel tree triangle trip trouble truck true trust try tube turn twelve twenty
type uncle under unit until use usual valley value vary very view village visit voice vowel wait walk wall want war warm
wash watch water wave way wear weather week weight west wheel when where while whisper white whole wide wife wild will
wind window wing winter wire wish with woman wonder wood word work world worry would write wrong yard year yellow yes
yet young zero zone
""".split()  # noqa: SIM905  (nine hundred strings in quotes are not to be read)
ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p ph pl pr qu r s sh sk sl sm sp st t th tr v w wh x y z"
NUCLEI = "a e i o u ea oo ou ai io"
CODAS = " b ck d f g l m n nd ng nt p r rd s st t x"


def made_up(rng: np.random.Generator) -> str:
    """One or two words of syllables that mean nothing: every letter, in more neighbourhoods than real words show."""

    def one(parts: str) -> str:
        return str(rng.choice(parts.split(" ")))

    def word() -> str:
        syllables = int(rng.integers(1, 3))
        return "".join(one(ONSETS) + one(NUCLEI) + one(CODAS) for _ in range(syllables))

    return word()[:7] if rng.random() < 0.8 else f"{word()[:4]} {word()[:4]}"
