"""The words and sentence patterns of the built-in tales; helpers/tales.py writes and reads with them.

A tale is one pattern from each list in BEATS. Every name, word and sentence here is our own.
A slot in braces is filled from the word list of that name in WORDS:

    {object}              a word as it stands                         key
    {a weather}           with its article                            an icy
    {A manner}            the same, at the start of a sentence        A grey
    {Side}                a word with a capital                       Under
    {he} {him} {his}      the pronoun that goes with the hero's name; also {He} and {His}
    {thing}               short for several slots, see SHORT          silver key

A slot named in ROLES is drawn once for a whole tale, and every mention repeats it: this is the
long-range agreement that a model has to learn. Any other slot is drawn anew at each mention.

Two rules keep the prose sound. The article goes by the first letter, so no list holds a word like
"honest" or "useful". An adjective must fit every noun that it can stand before.
"""


def _words(text: str) -> list[str]:
    """The words of a list written with commas: 'ash, plum tree' gives ['ash', 'plum tree']."""
    return [" ".join(word.split()) for word in text.split(",")]


SHE = _words("""
    Ada, Agnes, Alma, Bertha, Beryl, Celia, Clara, Cora, Daphne, Delia, Edith, Elsie, Elva, Fern, Flora,
    Freda, Greta, Hazel, Hetty, Ida, Ingrid, Iris, Ivy, Juno, Leila, Lena, Lotta, Mabel, Marta, Maud,
    Minna, Nell, Nina, Nora, Olga, Olive, Opal, Petra, Rhoda, Runa, Sanna, Stella, Tansy, Thea, Tilda,
    Ulla, Una, Vera, Wanda, Willa""")
HE = _words("""
    Abel, Alban, Amos, Basil, Bodo, Bruno, Caspar, Colin, Conrad, Corin, Cyril, Dario, Edwin, Emil,
    Eric, Felix, Fergus, Giles, Gustav, Henrik, Hugo, Ivan, Ivo, Jasper, Jonas, Karl, Kit, Lars, Leo,
    Linus, Luis, Magnus, Milo, Mungo, Ned, Nils, Olaf, Osbert, Oscar, Otis, Perrin, Piers, Ralph, Rufus,
    Silas, Simon, Theo, Tobin, Victor, Wilf, Yorick""")

WORDS = {
    "name": SHE + HE,
    "temper": _words("""
        artful, bold, bonny, brave, busy, calm, canny, cheery, clever, dapper, daring, dreamy, eager, frank,
        gentle, gruff, hardy, hasty, humble, idle, jolly, keen, kindly, lanky, lively, lonely, loyal, merry,
        modest, neat, nimble, noble, plucky, polite, proud, quiet, rosy, shy, sleepy, slim, smart, spry,
        stout, sturdy, tall, tidy, tiny, trusty, wise, witty, young, zany"""),
    "trade": _words("""
        acrobat, actor, archer, artist, baker, barber, binder, brewer, carter, carver, clown, cobbler, cook,
        cooper, dancer, diver, doctor, driver, drummer, dyer, farmer, fiddler, fisher, gilder, glazier,
        grocer, harper, hatter, herald, joiner, juggler, mason, miller, miner, nurse, painter, pedlar,
        pilot, piper, poet, porter, potter, printer, ranger, rider, rower, sailor, scholar, singer, skater,
        smith, sweep, tailor, teacher, tinker, trader, tutor, usher, waiter, weaver, writer"""),
    "look": _words("""
        amber, bent, blue, brass, bright, bronze, carved, cedar, clay, copper, coral, dainty, dented, ebony,
        fancy, glass, golden, green, ivory, jade, little, lucky, magic, neat, old, olive, orange, pearl,
        pewter, pink, plain, pretty, quaint, red, royal, ruby, rusty, shiny, silver, steel, stone, tin,
        tiny, violet, wee, white, wooden, yellow"""),
    "object": _words("""
        acorn, arrow, ball, bead, bell, bowl, box, brooch, brush, bucket, buckle, button, chain, clock,
        coin, comb, crown, cup, drum, fan, fiddle, flute, fork, globe, goblet, hammer, harp, hook, hoop,
        horn, jug, kettle, key, knob, ladle, lamp, locket, medal, mirror, mug, needle, pan, pen, pin, pipe,
        plate, ring, shell, spoon, star, teapot, top, tray, vase, wand, watch, wheel"""),
    "mood": _words("""
        airy, azure, bonny, calm, chalky, cheery, cosy, dreamy, drowsy, dusky, empty, fabled, famous, far,
        ferny, gentle, glassy, golden, grassy, hidden, hushed, jolly, lazy, lilac, lively, lonely, lovely,
        lower, magic, mauve, mellow, merry, mossy, narrow, old, outer, pale, pearly, proud, purple, quiet,
        rocky, rosy, royal, rugged, sandy, secret, serene, shady, silent, silky, sleepy, smoky, tidy, upper,
        vast, violet, warm, weedy, wild, woody"""),
    "land": _words("""
        canyon, castle, cavern, city, copse, court, crater, dale, dell, fen, field, forest, fort, garden,
        glade, glen, gorge, grotto, grove, gully, hamlet, hollow, jungle, lane, market, marsh, maze, meadow,
        palace, parish, park, port, quarry, ravine, realm, square, swamp, temple, town, vale, valley,
        wood"""),
    "side": ["under", "below", "behind", "beside", "near"],
    "mark": _words("""
        bent, big, broad, brown, dusty, eighth, fifth, first, fourth, great, grey, huge, humble, jolly,
        last, little, lonely, mighty, mossy, neat, ninth, noble, oldest, plain, pretty, proud, quaint, red,
        regal, rough, rugged, second, silent, sixth, small, solemn, solid, sooty, stout, strong, sturdy,
        sunny, tall, tenth, third, tiny, weary, white, yellow"""),
    "place": _words("""
        alder, anvil, arch, ash, barrel, basket, beech, bench, birch, boat, bridge, bush, cactus, cart,
        cedar, chair, chest, crate, elm, fence, fern, fir, gate, hedge, ladder, log, maple, oak, palm, pine,
        plough, poplar, porch, post, pump, raft, rock, rose, rowan, shed, sled, stall, statue, stone, stove,
        stump, swing, table, tent, trough, tub, tulip, wagon, wall, willow, yew"""),
    "manner": _words("""
        aged, bold, brisk, brown, busy, calm, chatty, cheery, clever, dapper, drowsy, dusty, gentle, grand,
        green, grey, grumpy, hoarse, humble, jolly, kind, lanky, lilac, lively, loyal, modest, nimble,
        noble, old, pink, placid, plump, polite, proud, purple, quiet, regal, rosy, shy, sleek, sleepy,
        small, solemn, spry, stout, tame, tiny, tubby, weary, white, wise, witty, young, zany"""),
    "animal": _words("""
        ant, badger, bat, bear, beaver, bee, beetle, bison, camel, cat, cow, crab, crane, crow, cuckoo,
        deer, dog, donkey, dove, duck, eagle, elk, falcon, ferret, finch, fox, frog, gnat, goat, goose,
        grouse, gull, hare, heron, hippo, horse, hound, ibis, jay, koala, lamb, lark, lizard, llama, magpie,
        mole, monkey, moose, moth, mouse, mule, newt, otter, owl, ox, panda, parrot, pig, pigeon, pony,
        puffin, quail, rabbit, ram, rat, raven, robin, rook, seal, sheep, shrew, snail, spider, stag, stoat,
        stork, swan, tapir, thrush, toad, turkey, turtle, walrus, wasp, weasel, wolf, wombat, wren, yak,
        zebra"""),
    "weather": _words("""
        April, August, autumn, balmy, blowy, breezy, bright, brisk, chilly, clear, cloudy, cold, cool,
        crisp, damp, dewy, dry, dull, fair, fine, foggy, fresh, frosty, grey, hazy, hot, icy, July, June,
        lovely, March, May, mild, misty, muggy, quiet, rainy, sharp, sleety, snowy, spring, still, stormy,
        sultry, summer, sunny, warm, wet, windy, winter"""),
    "day": _words("dawn, day, eve, evening, Friday, Monday, morning, noon, Sunday, Tuesday"),
    "stumbled": _words("""
        bowed, danced, dozed, fell, halted, hopped, jumped, leapt, napped, nodded, paused, played, raced,
        ran, rested, rolled, sat, skipped, slept, slipped, sneezed, spun, tripped, turned, twirled, waited,
        waved, whirled, yawned"""),
    "birds": _words("""
        ants, bats, bees, chicks, crows, deer, doves, ducks, eels, foals, frogs, geese, gnats, goats, gulls,
        hares, hens, jays, lambs, larks, mice, moles, moths, newts, ponies, quails, rooks, sheep, snails,
        storks, swans, swifts, toads, trout, wasps, wrens"""),
    "bag": _words("""
        apron, bag, basket, belt, bundle, cape, case, cloak, coat, cuff, hood, jacket, pack, pail, pocket,
        pouch, purse, sack, shawl, sleeve"""),
    "colour": _words("""
        beige, black, blue, brown, buff, cotton, felt, frilly, furry, gaudy, green, grey, lace, lilac,
        linen, mauve, neat, orange, paper, pink, plaid, purple, red, satin, silk, smart, tartan, tweed,
        velvet, white, woolly, yellow"""),
    "hat": _words("""
        apron, bib, bonnet, bow, cap, cape, cloak, coat, collar, cravat, fez, frock, gown, hat, helmet,
        hood, jacket, jerkin, kilt, mask, robe, ruff, sash, scarf, shawl, shirt, skirt, smock, tie, tunic,
        turban, veil, vest, wig"""),
    "kindly": _words("""
        at last, at once, boldly, briskly, calmly, coolly, dryly, firmly, gaily, gently, gladly, grandly,
        gravely, gruffly, kindly, lazily, loudly, meekly, mildly, primly, proudly, quietly, shyly, slowly,
        softly, sweetly, warmly, wisely"""),
    "nodded": _words("""
        beamed, blinked, bowed, grinned, hummed, laughed, nodded, paused, sat up, smiled, sneezed, sniffed,
        stood up, winked, woke up, yawned"""),
    "weep": _words("cry, fret, frown, fuss, grieve, mope, sigh, sob, sulk, wail, weep, worry"),
    "wept": _words("""
        called, cried, fretted, frowned, grieved, hunted, moped, pined, sighed, sobbed, sulked, wailed,
        waited, wept, worried"""),
    "hurried": _words("""
        bounded, crept, darted, dashed, flew, hopped, hurried, jogged, marched, raced, ran, rushed, skipped,
        sped, strode, trotted, walked, went"""),
    "gleamed": _words("""
        beamed, blazed, blinked, flashed, gleamed, glinted, glowed, shone, sparkled, twinkled, waited,
        winked"""),
    "grass": _words("""
        bluebells, bracken, clay, clover, daisies, dew, dust, ferns, grass, gravel, hay, heather, ivy,
        leaves, lilies, mint, moss, mud, nettles, pebbles, petals, poppies, reeds, roots, rushes, sage,
        sand, shade, straw, thyme, twigs, weeds"""),
    "dusty": _words("""
        ashy, chalky, damp, dewy, dirty, dusty, grassy, gritty, grubby, leafy, mossy, muddy, salty, sandy,
        soggy, sooty, sticky, wet"""),
    "light": _words("""
        a bubble, a candle, a coin, a comet, a crown, a dewdrop, a flame, a jewel, a lamp, a pearl, a penny,
        a poppy, a rainbow, a ruby, a spark, a star, a sunbeam, dawn, fire, frost, gold, ice, morning, new
        snow, silk, sunrise, the moon, the sea, the sun"""),
    "honey": _words("""
        almond, apple, barley, berry, bran, carrot, cheese, cherry, cocoa, coffee, cream, date, fig, ginger,
        honey, jam, lemon, lime, maple, melon, mint, nut, oat, orange, peach, pear, plum, potato, quince,
        raisin, rice, rye, sugar, toffee, treacle, walnut, wheat"""),
    "cake": _words("""
        biscuit, bun, cake, cookie, crisp, crumpet, flan, loaf, muffin, pancake, pasty, pie, pudding, roll,
        rusk, scone, sponge, strudel, tart, wafer, waffle"""),
    "danced": _words("""
        ambled, danced, hopped, jogged, leapt, marched, pranced, raced, ran, rode, skipped, sped, strode,
        strolled, trotted, twirled, walked, waltzed, went"""),
    "dusk": _words("bedtime, dark, dinner, dusk, long, sunset, supper, tea"),
    "gleam": _words("""
        beam, blink, flash, gleam, glint, glitter, glow, shimmer, shine, sparkle, twinkle, wink"""),
    "juggle": _words("""
        bake, bowl, carve, cook, count, dance, dive, draw, fence, fish, hum, juggle, knit, paint, read, row,
        sew, sing, skate, ski, spell, spin, swim, tumble, waltz, whistle, wink, write, yodel"""),
}

ROLES = [
    "name",  # Tilda
    "temper",  # merry
    "trade",  # weaver: the hero is a merry weaver
    "look",  # silver
    "object",  # key: the thing lost
    "mood",  # sleepy
    "land",  # wood: where it is lost
    "side",  # under
    "mark",  # mossy
    "place",  # bridge: where it is found
    "manner",  # grey
    "animal",  # heron: the helper
]

SHORT = {
    "a kind": "{a temper} {trade}",
    "A kind": "{A temper} {trade}",
    "thing": "{look} {object}",
    "region": "{mood} {land}",
    "spot": "{side} the {mark} {place}",
    "Spot": "{Side} the {mark} {place}",
    "a helper": "{a manner} {animal}",
    "A helper": "{A manner} {animal}",
}

SETS_OUT = [
    "One {weather} {day} {a kind} named {name} set out.",
    "{name}, {a kind}, set out one {weather} {day}.",
    "On {a weather} {day} {name}, {a kind}, left home.",
    "Once, on {a weather} {day}, {name}, {a kind}, set off.",
    "It was {a weather} {day}. {name}, {a kind}, set out.",
    '"What {a weather} {day}!" said {name}, {a kind}.',
    "{A kind} named {name} went out one {weather} {day}.",
    "{A kind}, {name} by name, left home one {weather} {day}.",
    "Off went {name}, {a kind}, one {weather} {day}.",
    "Down a road one {weather} {day} came {name}, {a kind}.",
    "Over the hills one {weather} {day} rode {name}, {a kind}.",
    "Far away one {weather} {day} walked {name}, {a kind}.",
    '"I am off!" said {name}, {a kind}, one {weather} {day}.',
    "Up a lane one {weather} {day} went {name}, {a kind}.",
    "Singing, {name}, {a kind}, left home one {weather} {day}.",
    "Long ago, on {a weather} {day}, out rode {name}, {a kind}.",
    "Along came {name}, {a kind}, one {weather} {day}.",
    "{name}, {a kind}, took a walk one {weather} {day}.",
    "{name} was {a kind} who rode out one {weather} {day}.",
    "{A kind} called {name} left home one {weather} {day}.",
    "Into the world one {weather} {day} went {name}, {a kind}.",
    '"Adventure!" cried {name}, {a kind}, one {weather} {day}.',
    "With a song {name}, {a kind}, set out one {weather} {day}.",
]

LOSES = [
    "In the {region} {he} lost {his} {thing}.",
    "In the {region} {he} {stumbled} and lost {his} {thing}.",
    "{He} {stumbled} in the {region} and lost {his} {thing}.",
    "Alas, {he} lost {his} {thing} in the {region}.",
    "In the {region} {his} {thing} fell from {his} {bag}.",
    "{His} {thing} fell from {his} {bag} in the {region}.",
    "In the {region} {he} fed {birds} and lost {his} {thing}.",
    "{He} drew {birds} in the {region} and lost {his} {thing}.",
    "{He} tried to {juggle} in the {region} and lost {his} {thing}.",
    "{He} {stumbled} in the {region}. Gone was {his} {thing}!",
    'In the {region} {he} cried, "I have lost my {thing}!"',
    '"Where is my {thing}?" {he} cried in the {region}.',
    "Chasing {birds} in the {region}, {he} lost {his} {thing}.",
    "Counting {birds} in the {region}, {he} lost {his} {thing}.",
    "Deep in the {region} {he} {stumbled} and let {his} {thing} fall.",
    "Soon {he} {stumbled} and lost {his} {thing} in the {region}.",
    "Out of {his} {bag}, in the {region}, fell {his} {thing}.",
    "In the {region} some {birds} made {him} drop {his} {thing}.",
    "{He} lost {his} {thing} in the {region}, feeding {birds}.",
    "{He} saw {birds} in the {region} and dropped {his} {thing}.",
]

IS_TOLD = [
    '"Look {spot}," said {a helper} {kindly}.',
    '{A helper} said {kindly}, "Look {spot}."',
    '{A helper} in {a colour} {hat} said, "Look {spot}."',
    '"It fell {spot}," said {a helper} {kindly}.',
    "{A helper} {kindly} told {him} to look {spot}.",
    '{He} {wept}. "Try {spot}," said {a helper}.',
    "{He} {wept}, but {a helper} had seen it {spot}.",
    '"{Spot}!" said {a helper} in {a colour} {hat}.',
    '"I saw it {spot}," said {a helper} {kindly}.',
    "{A helper} in {a colour} {hat} pointed {spot}.",
    "{name} met {a helper}, who had seen it {spot}.",
    '{He} asked {a helper}. "{Spot}," it said {kindly}.',
    '{A helper} {nodded}. "It is {spot}," it said.',
    '"It is {spot}," {a helper} told {him} {kindly}.',
    '{A helper} {nodded} and said, "Look {spot}."',
    '"Why {weep}?" said {a helper}. "It is {spot}."',
    '"Cheer up!" said {a helper}. "It is {spot}."',
    'Up came {a helper}. "Look {spot}," it said {kindly}.',
    '"Try {spot}," said {a helper} in {a colour} {hat}.',
]

FINDS = [
    "{name} looked {spot} and saw the {thing} {gleam}.",
    "{He} {hurried}, and {spot} lay the {thing}.",
    "{Spot} the {thing} {gleamed} in the {grass}.",
    "{Spot} the {thing} shone like {light}.",
    "{Spot}, in the {grass}, lay the {thing}.",
    "{He} looked {spot}. The {thing} {gleamed}!",
    "{Spot}, in the {grass}, {he} found the {thing}.",
    "It was so: {spot} the {thing} {gleamed}.",
    "{He} {hurried} and found the {thing} {spot}.",
    '"Oh!" {he} cried, for {spot} {gleamed} the {thing}.',
    "Sure enough, {spot} {gleamed} the {thing}.",
    "The {trade} {hurried}. {Spot} was the {thing}!",
    "{name} knelt {spot}. The {thing} {gleamed}!",
    "And there, {spot}, {gleamed} the {thing}.",
    "{He} dug {spot}, and out came the {thing}.",
    "{He} {hurried} there. {Spot} was the {thing}!",
    "{Spot} lay the {thing}, {dusty} but whole.",
    "Wonder of wonders, {spot} {gleamed} the {thing}.",
    "Hurrah! {Spot} {he} found the {thing}.",
    "{name} found the {thing} {spot}, in the {grass}.",
]

ENDS = [
    "{name} gave the {animal} {a honey} {cake}.",
    "{name} and the {animal} ate {a honey} {cake}.",
    '"Thanks!" {name} fed the {animal} {a honey} {cake}.',
    "{name} {danced} home, and the {animal} {danced} too.",
    "{name} baked the {animal} {a honey} {cake}.",
    "{name} and the {animal} {danced} home before {dusk}.",
    "The {animal} had {a honey} {cake} from {name}.",
    "Each {day} {name} brings the {animal} {a honey} {cake}.",
    "{name} thanked the {animal} and {danced} home.",
    '"Good {animal}!" said {name}, and cut {a honey} {cake}.',
    "The {region} still talks of {name} and the {animal}.",
    "{name} bowed, and the {animal} ate {a honey} {cake}.",
    "Then {name} the {trade} and the {animal} {danced} home.",
    "{name} and the {animal} shared {a honey} {cake}.",
    "{name} sewed the {animal} {a colour} {hat} before {dusk}.",
    "In thanks {name} taught the {animal} to {juggle}.",
    "The {animal} taught {name} to {juggle} before {dusk}.",
    "So {name} gave the {animal} {a colour} {hat}.",
    "{name} hugged the {animal}, and they {danced} home.",
    '"Dear {animal}," said {name}, "have {a honey} {cake}."',
    "Now {name} and the {animal} {juggle} together each {day}.",
    "{name} and the {animal} have been friends ever since.",
]

BEATS = {"sets out": SETS_OUT, "loses": LOSES, "is told": IS_TOLD, "finds": FINDS, "ends": ENDS}
