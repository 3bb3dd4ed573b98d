"""Styles of the synthetic music's genres as plain data: tempo, harmony, drums and parts.

A pattern is a string that lasts one bar of four beats, cut into as many equal steps as it has characters:
sixteen make straight sixteenths, twelve make triplets (a shuffle, swing, or 12/8). A `.` is a rest.

In a drum pattern `x` is a hit and `o` a soft hit, left out now and then.

In the pattern of a part `-` holds the note before it, `x` is the whole chord, `1 3 5 7 8` a tone of the chord
by its degree (`8` is the root an octave up; a chord without a seventh gives its highest tone), and `m` the
next note of a melody that wanders over the scale.

Instruments and drums go by their General MIDI names, chords by a roman numeral against the major scale plus a
quality listed in `QUALITIES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BEATS_PER_BAR = 4

QUALITIES: Mapping[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7, 12),
    "6": (0, 4, 7, 9),
    "7": (0, 4, 7, 10),
    "9": (0, 4, 10, 14),
    "m7": (0, 3, 7, 10),
    "m9": (0, 3, 10, 14),
    "maj7": (0, 4, 7, 11),
    "m7b5": (0, 3, 6, 10),
    "sus4": (0, 5, 7),
}
"""Semitones above the root."""

SCALES: Mapping[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "bebop": (0, 2, 4, 5, 7, 8, 9, 11),
    "blues": (0, 3, 5, 6, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
}
"""Semitones above the key note."""

KITS: Mapping[str, int] = {
    "standard": 0,
    "room": 8,
    "power": 16,
    "electronic": 24,
    "808": 25,
    "jazz": 32,
    "brush": 40,
}
"""Program numbers of the General MIDI Level 2 / Roland GS drum kits."""

Groove = Mapping[str, str]


@dataclass(frozen=True)
class Harmony:
    """A scale for the melodies and a progression of one chord a bar, repeated to the end of the clip."""

    scale: str
    chords: str


@dataclass(frozen=True)
class Part:
    """A player: its instruments, its patterns, and the probability that it plays in a clip."""

    instruments: tuple[str, ...]
    patterns: tuple[str, ...]
    lowest: int
    """Lowest root, as a MIDI pitch (60 is middle C); melodies range over the octave and a half above it."""
    level: float
    """Share of full loudness, varied per clip."""
    presence: float = 1.0
    """Chance that the part is in a clip."""


@dataclass(frozen=True)
class Style:
    """Everything that tells one genre from another."""

    tempo: tuple[float, float]
    """Slowest and fastest, in beats per minute."""
    harmonies: tuple[Harmony, ...]
    parts: tuple[Part, ...]
    grooves: tuple[Groove, ...] = ()
    kits: tuple[str, ...] = ("standard",)
    drum_level: float = 0.8
    reverb: tuple[int, int] = (20, 60)
    """Least and most reverberation, as MIDI controller 91 counts it (0 to 127)."""
    drive: tuple[float, float] = (1.0, 2.0)
    """Least and most saturation at mastering: the gain before a soft clipper; 1 hardly touches the dynamics."""


STYLES: Mapping[str, Style] = {
    "blues": Style(
        tempo=(62, 124),
        harmonies=(
            Harmony("blues", "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"),
            Harmony("blues", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V9 IV9 I7 V7"),
            Harmony("blues", "Im7 Im7 Im7 Im7 IVm7 IVm7 Im7 Im7 bVI7 V7 Im7 V7"),
        ),
        grooves=(
            {
                "Closed Hi Hat": "x.xx.xx.xx.x",
                "Acoustic Snare": "...x.....x..",
                "Acoustic Bass Drum": "x.....x.o...",
            },
            {
                "Ride Cymbal 1": "x.xx.xx.xx.x",
                "Acoustic Snare": "...x.....x.o",
                "Acoustic Bass Drum": "x....xx.....",
            },
            {
                "Closed Hi Hat": "xxxxxxxxxxxx",
                "Side Stick": "...x.....x..",
                "Acoustic Bass Drum": "x....xx....o",
            },
        ),
        kits=("standard", "room", "jazz"),
        drum_level=0.7,
        parts=(
            Part(
                ("Electric Bass (finger)", "Acoustic Bass"),
                ("1-.3-.5-.7-.", "1-13-35-57-5", "1--1--5--5--"),
                lowest=31,
                level=0.9,
            ),
            Part(
                ("Electric Guitar (clean)", "Overdriven Guitar", "Acoustic Guitar (steel)"),
                ("1-15-51-17-7", "x-xx-xx-xx-x", "x-.x-.x-.x-."),
                lowest=45,
                level=0.7,
            ),
            Part(
                ("Honky-tonk Piano", "Acoustic Grand Piano", "Drawbar Organ", "Rock Organ"),
                ("x-.x-xx-.x-x", "...x--...x--", "x-----.x----"),
                lowest=52,
                level=0.6,
                presence=0.6,
            ),
            Part(
                ("Harmonica", "Overdriven Guitar", "Electric Guitar (clean)", "Tenor Sax"),
                ("m-mm-mm-----", "......m-mm-m", "m--m-m......", "mmmm-----..."),
                lowest=60,
                level=0.9,
                presence=0.9,
            ),
        ),
    ),
    "classical": Style(
        tempo=(60, 132),
        harmonies=(
            Harmony("major", "I IV V7 I VIm IIm V7 I"),
            Harmony("major", "I V7 VIm III IV I IIm V7"),
            Harmony("harmonic minor", "Im IVm V7 Im bVI IVm V7 Im"),
            Harmony("harmonic minor", "Im V7 Im bVI bIII IIm7b5 V7 Im"),
        ),
        reverb=(40, 110),
        drive=(1.0, 1.5),
        parts=(
            Part(
                ("Acoustic Grand Piano", "Harpsichord", "Orchestral Harp", "String Ensemble 1"),
                ("1535153515351535", "1358531513585315", "1--5--3-8--5--3-", "x---x---x---x---"),
                lowest=50,
                level=0.7,
            ),
            Part(
                ("Violin", "Flute", "Oboe", "Clarinet", "String Ensemble 1", "Acoustic Grand Piano"),
                ("m---m-m-m---m---", "m-------m---m-m-", "mmmmm-m-m---m---", "m-m-m-m-mmmmm---"),
                lowest=67,
                level=0.9,
            ),
            Part(
                ("Cello", "String Ensemble 1", "Bassoon", "Contrabass"),
                ("1-------5-------", "1---5---3---1---", "1---------------"),
                lowest=36,
                level=0.8,
                presence=0.8,
            ),
            Part(
                ("String Ensemble 1", "String Ensemble 2", "French Horn", "Pizzicato Strings"),
                ("x---------------", "x-------x-------"),
                lowest=55,
                level=0.6,
                presence=0.5,
            ),
        ),
    ),
    "country": Style(
        tempo=(92, 136),
        harmonies=(
            Harmony("major pentatonic", "I I IV IV V V I I"),
            Harmony("major pentatonic", "I IV I V I IV V I"),
            Harmony("major pentatonic", "I VIm IV V"),
        ),
        grooves=(
            {
                "Acoustic Snare": "o.x.o.x.o.x.o.xo",
                "Acoustic Bass Drum": "x.......x.......",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Side Stick": "....x.......x...",
                "Acoustic Bass Drum": "x.......x.......",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Acoustic Snare": "..x...x...x...x.",
                "Acoustic Bass Drum": "x...x...x...x...",
                "Tambourine": "o.x.o.x.o.x.o.x.",
            },
        ),
        kits=("standard", "brush"),
        drum_level=0.55,
        parts=(
            Part(
                ("Acoustic Bass", "Electric Bass (finger)", "Electric Bass (pick)"),
                ("1---....5---....", "1---5---1---5---"),
                lowest=31,
                level=0.9,
            ),
            Part(
                ("Acoustic Guitar (steel)",),
                ("1-x-5-x-1-x-5-x-", "1-x-x.xx5-x-x.xx"),
                lowest=47,
                level=0.9,
            ),
            Part(
                ("Banjo", "Acoustic Guitar (steel)"),
                ("1358531513585315", "1531531513153135"),
                lowest=55,
                level=0.6,
                presence=0.7,
            ),
            Part(
                ("Fiddle", "Harmonica", "Electric Guitar (clean)", "Acoustic Guitar (steel)"),
                ("m-m-m---m-m-m---", "m---m-m-m-------", "....m-m-mmm-m---"),
                lowest=64,
                level=0.8,
                presence=0.85,
            ),
        ),
    ),
    "disco": Style(
        tempo=(110, 130),
        harmonies=(
            Harmony("dorian", "Im7 IV7 Im7 IV7"),
            Harmony("minor", "Im7 bVII bVImaj7 V7"),
            Harmony("major", "IIm7 V7 Imaj7 VIm7"),
        ),
        grooves=(
            {
                "Bass Drum 1": "x...x...x...x...",
                "Open Hi Hat": "..x...x...x...x.",
                "Closed Hi Hat": "xx.xxx.xxx.xxx.x",
                "Hand Clap": "....x.......x...",
            },
            {
                "Bass Drum 1": "x...x...x...x...",
                "Open Hi Hat": "..x...x...x...x.",
                "Acoustic Snare": "....x.......x..o",
                "Tambourine": "x.xxx.xxx.xxx.xx",
            },
            {
                "Bass Drum 1": "x...x...x...x...",
                "Open Hi Hat": "..x...x...x...x.",
                "Acoustic Snare": "....x.......x...",
                "Open Hi Conga": "...x..x....x..xo",
            },
        ),
        kits=("standard", "room", "electronic"),
        drum_level=0.95,
        parts=(
            Part(
                ("Electric Bass (finger)", "Slap Bass 1", "Synth Bass 1", "Electric Bass (pick)"),
                ("1-8-1-8-1-8-1-8-", "1.8.1.8.1.8157..", "11.81.8.11.85.7."),
                lowest=31,
                level=1.0,
            ),
            Part(
                ("Electric Guitar (clean)", "Electric Guitar (muted)", "Clavinet"),
                ("..xx..xx..xx..xx", "x.xx.xx.x.xx.xx.", "xxxxx.xxxxxxx.xx"),
                lowest=57,
                level=0.7,
            ),
            Part(
                ("String Ensemble 1", "Synth Strings 1", "String Ensemble 2"),
                ("x---------------", "m---m---m-m-m---", "x-------....m-m-"),
                lowest=67,
                level=0.8,
                presence=0.85,
            ),
            Part(
                ("Brass Section", "Electric Piano 1", "Synth Brass 1"),
                ("......x-..x-....", "x.......x..x....", "..........x.x.x-"),
                lowest=58,
                level=0.6,
                presence=0.6,
            ),
        ),
    ),
    "hiphop": Style(
        tempo=(76, 102),
        harmonies=(
            Harmony("minor pentatonic", "Im7 Im7 IVm7 Im7"),
            Harmony("minor", "Im bVI Im bVII"),
            Harmony("dorian", "Im9 Im9 IIm7 Im9"),
        ),
        grooves=(
            {
                "Bass Drum 1": "x.....x...x.....",
                "Electric Snare": "....x.......x...",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Bass Drum 1": "x..x......xx....",
                "Electric Snare": "....x.......x..o",
                "Closed Hi Hat": "xxx.xxx.xxx.xxxx",
                "Hand Clap": "....x.......x...",
            },
            {
                "Bass Drum 1": "xo.....x..x..o..",
                "Hand Clap": "....x.......x...",
                "Closed Hi Hat": "x.xxx.x.x.x.xxxx",
                "Open Hi Hat": "..............x.",
            },
        ),
        kits=("808", "electronic", "room"),
        drum_level=1.0,
        reverb=(0, 50),
        drive=(1.2, 3.0),
        parts=(
            Part(
                ("Synth Bass 1", "Synth Bass 2", "Electric Bass (finger)", "Fretless Bass"),
                ("1-----1---5-....", "1--1------11----", "1-------........"),
                lowest=26,
                level=1.0,
            ),
            Part(
                ("Electric Piano 1", "Electric Piano 2", "String Ensemble 1", "Vibraphone"),
                ("x-------........", "x--x--....x-....", "....x---....x---"),
                lowest=55,
                level=0.5,
                presence=0.8,
            ),
            Part(
                ("Lead 2 (sawtooth)", "Pizzicato Strings", "Acoustic Grand Piano", "Orchestra Hit", "Flute"),
                ("1...5..3....1...", "m.m...m.m.......", "1..8..5...3....."),
                lowest=60,
                level=0.5,
                presence=0.6,
            ),
        ),
    ),
    "jazz": Style(
        tempo=(96, 220),
        harmonies=(
            Harmony("bebop", "IIm7 V7 Imaj7 VI7"),
            Harmony("bebop", "Imaj7 VIm7 IIm7 V7 IIIm7 VI7 IIm7 V7"),
            Harmony("dorian", "Im9 Im9 Im9 Im9 IIm7b5 V7 Im9 Im9"),
        ),
        grooves=(
            {
                "Ride Cymbal 1": "x..x.xx..x.x",
                "Pedal Hi Hat": "...x.....x..",
                "Acoustic Snare": "..o.....o..o",
            },
            {
                "Ride Cymbal 2": "x..x.xx..x.x",
                "Pedal Hi Hat": "...x.....x..",
                "Acoustic Bass Drum": "o.....o....o",
            },
            {
                "Ride Cymbal 1": "x..x.ox..x.o",
                "Side Stick": ".........x..",
                "Pedal Hi Hat": "...x.....x..",
            },
        ),
        kits=("jazz", "brush", "standard"),
        drum_level=0.6,
        reverb=(30, 80),
        drive=(1.0, 1.4),
        parts=(
            Part(
                ("Acoustic Bass", "Acoustic Bass", "Electric Bass (finger)", "Fretless Bass"),
                ("1--m--m--m--", "1--3--5--m--", "1--m--5-3m--"),
                lowest=31,
                level=1.0,
            ),
            Part(
                ("Acoustic Grand Piano", "Electric Guitar (jazz)", "Vibraphone", "Electric Piano 1"),
                ("x--..x-.....", ".....x--..x-", "x-..x-......"),
                lowest=52,
                level=0.65,
                presence=0.9,
            ),
            Part(
                ("Tenor Sax", "Alto Sax", "Trumpet", "Muted Trumpet", "Acoustic Grand Piano", "Vibraphone"),
                ("m-mm-mm-mm-m", "..mm-mm--...", "m-----..mm-m", "mmmm-mm-----"),
                lowest=58,
                level=0.85,
            ),
        ),
    ),
    "metal": Style(
        tempo=(120, 190),
        harmonies=(
            Harmony("phrygian", "I5 I5 bII5 I5"),
            Harmony("minor", "I5 bVI5 bVII5 I5"),
            Harmony("harmonic minor", "I5 I5 bV5 bII5"),
        ),
        grooves=(
            {
                "Bass Drum 1": "xxxxxxxxxxxxxxxx",
                "Acoustic Snare": "....x.......x...",
                "Crash Cymbal 1": "x...x...x...x...",
            },
            {
                "Bass Drum 1": "x.xxx.xxx.xxx.xx",
                "Acoustic Snare": "....x.......x...",
                "Ride Bell": "x.x.x.x.x.x.x.x.",
            },
            {
                "Bass Drum 1": "x.x.x.x.x.x.x.x.",
                "Acoustic Snare": "..x...x...x...x.",
                "Chinese Cymbal": "x...x...x...x...",
            },
        ),
        kits=("power", "room"),
        drum_level=0.85,
        reverb=(0, 40),
        drive=(2.0, 4.0),
        parts=(
            Part(
                ("Distortion Guitar",),
                ("x.xxx.xxx.xxx.xx", "xxxxxxxxxxxxxxxx", "x---xxx-xxx-x-xx"),
                lowest=38,
                level=1.0,
            ),
            Part(
                ("Distortion Guitar", "Overdriven Guitar"),
                ("x-------x-------", "x.xxx.xxx.xxx.xx"),
                lowest=40,
                level=0.8,
                presence=0.8,
            ),
            Part(
                ("Electric Bass (pick)",),
                ("1111111111111111", "1.111.111.111.11"),
                lowest=28,
                level=0.8,
            ),
            Part(
                ("Distortion Guitar", "Overdriven Guitar"),
                ("mmmmmmmmmmmmmmmm", "m-m-mmmmm---m---", "................"),
                lowest=62,
                level=0.7,
                presence=0.5,
            ),
        ),
    ),
    "pop": Style(
        tempo=(98, 128),
        harmonies=(
            Harmony("major", "I V VIm IV"),
            Harmony("major", "VIm IV I V"),
            Harmony("major pentatonic", "I IIIm IV Vsus4"),
        ),
        grooves=(
            {
                "Bass Drum 1": "x.......x.x.....",
                "Electric Snare": "....x.......x...",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Bass Drum 1": "x..x..x.x..x..x.",
                "Hand Clap": "....x.......x...",
                "Cabasa": "x.xxx.xxx.xxx.xx",
            },
            {
                "Bass Drum 1": "x.....x.x.....o.",
                "Acoustic Snare": "....x.......x...",
                "Closed Hi Hat": "xxxxxxxxxxxxxxxx",
            },
        ),
        kits=("electronic", "standard", "808"),
        drum_level=0.75,
        drive=(1.2, 2.5),
        parts=(
            Part(
                ("Synth Bass 1", "Synth Bass 2"),
                ("1-1-1-1-1-1-1-1-", "1--1--1-1--1--1-", "1-------1-1-----"),
                lowest=31,
                level=0.9,
            ),
            Part(
                ("Pad 2 (warm)", "Pad 3 (polysynth)", "Synth Strings 1"),
                ("x---------------",),
                lowest=57,
                level=0.6,
            ),
            Part(
                ("Electric Piano 2", "Bright Acoustic Piano", "Acoustic Guitar (steel)", "Lead 1 (square)"),
                ("x---x---x---x---", "1-5-8-5-1-5-8-5-", "x--x--x-x--x--x-"),
                lowest=60,
                level=0.7,
            ),
            Part(
                ("Lead 1 (square)", "Lead 2 (sawtooth)", "Voice Oohs", "Lead 6 (voice)", "Synth Choir"),
                ("m-m-m---m-m-m---", "m--m--m-----m-m-", "..m-m-m-m-------"),
                lowest=66,
                level=0.8,
                presence=0.9,
            ),
        ),
    ),
    "reggae": Style(
        tempo=(66, 88),
        harmonies=(
            Harmony("major", "I IV I IV"),
            Harmony("minor", "Im IVm Im bVII"),
            Harmony("major", "I V IIm IV"),
        ),
        grooves=(
            {
                "Bass Drum 1": "........x.......",
                "Side Stick": "........x.......",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Bass Drum 1": "x...x...x...x...",
                "Side Stick": "........x..o....",
                "Closed Hi Hat": "x.xxx.xxx.xxx.xx",
            },
            {
                "Bass Drum 1": "........x.......",
                "Acoustic Snare": "........x....o..",
                "Closed Hi Hat": "..x...x...x...x.",
                "Open Hi Conga": "x..o..x.o.....xo",
            },
        ),
        kits=("standard", "room"),
        drum_level=0.75,
        reverb=(60, 110),
        parts=(
            Part(
                ("Electric Bass (finger)", "Fretless Bass"),
                ("1---3-5-....1-1-", "1-1-..5-5-3-....", "1-----5-8---5-3-"),
                lowest=26,
                level=1.0,
            ),
            Part(
                ("Electric Guitar (clean)", "Electric Guitar (muted)", "Acoustic Grand Piano"),
                ("..x...x...x...x.", "..xx..xx..xx..xx", "....x.......x..."),
                lowest=57,
                level=0.8,
            ),
            Part(
                ("Percussive Organ", "Drawbar Organ", "Rock Organ"),
                (".x.x.x.x.x.x.x.x", "..x-..x-..x-..x-", ".xx..xx..xx..xx."),
                lowest=55,
                level=0.6,
                presence=0.85,
            ),
            Part(
                ("Brass Section", "Trombone", "Harmonica", "Voice Oohs"),
                ("m---m-m-........", "........m-m-m---", "m---------......"),
                lowest=60,
                level=0.7,
                presence=0.5,
            ),
        ),
    ),
    "rock": Style(
        tempo=(108, 148),
        harmonies=(
            Harmony("minor pentatonic", "I bVII IV I"),
            Harmony("major pentatonic", "I5 IV5 V5 IV5"),
            Harmony("minor pentatonic", "Im bVI bIII bVII"),
        ),
        grooves=(
            {
                "Acoustic Bass Drum": "x.......x.x.....",
                "Acoustic Snare": "....x.......x...",
                "Closed Hi Hat": "x.x.x.x.x.x.x.x.",
            },
            {
                "Acoustic Bass Drum": "x.x.......x....o",
                "Acoustic Snare": "....x.......x...",
                "Open Hi Hat": "x...x...x...x...",
            },
            {
                "Acoustic Bass Drum": "x.....x.x.......",
                "Acoustic Snare": "....x.......x..o",
                "Ride Cymbal 1": "x.x.x.x.x.x.x.x.",
            },
        ),
        kits=("standard", "power", "room"),
        drum_level=0.9,
        drive=(1.2, 3.0),
        parts=(
            Part(
                ("Overdriven Guitar",),
                ("x---..x-x---x---", "x-x-x-x-x-x-x-x-", "x-------x---x-x-"),
                lowest=45,
                level=0.9,
            ),
            Part(
                ("Electric Bass (pick)", "Electric Bass (finger)"),
                ("1-1-1-1-1-1-1-1-", "1---..1-1---1---"),
                lowest=28,
                level=0.9,
            ),
            Part(
                ("Electric Guitar (clean)", "Rock Organ", "Acoustic Grand Piano", "Acoustic Guitar (steel)"),
                ("x-------x-------", "1-5-8-5-1-5-8-5-", "x-x-x-x-x-x-x-x-"),
                lowest=55,
                level=0.6,
                presence=0.6,
            ),
            Part(
                ("Overdriven Guitar", "Lead 6 (voice)", "Distortion Guitar"),
                ("m-m-m---m-m-m---", "m---m-mm-m-m----", "........m-m-mmm-"),
                lowest=64,
                level=0.8,
                presence=0.7,
            ),
        ),
    ),
}
