#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each way to be wrong fails the row of `bucketdisk plugin check` that is meant for it, and no other; a right plugin none.

Where a fault shows in several rows by its nature, the others are named, too."""
import concurrent.futures
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from kit import BUCKETDISK, BUILD, Checked, run

PLUGINS = Path(os.environ.get("WRONG_PLUGINS", BUILD / "tests" / "check"))
BACKEND, CRYPTO = PLUGINS / "plugins" / "backend-wrong.so", PLUGINS / "plugins" / "crypto-wrong.so"
UNRESOLVED = BUILD / "tests" / "plugins" / "unresolved-lazy" / "codec-case.so"
# What hangs is given up after this; all else needs a fraction of it.
QUICK = ("--time-limit=9s",)
SHORT = ("--time-limit=3s",)

BODIES = "bodies up to 4 MiB come back, and of object_bytes_max if that is at most 64 MiB"
B, C, K = "backend: ", "codec wrong: ", "key wrap wrong: "

# way -> the row meant for it, and those that cannot but fail, too
LOADING = {
    "query-calls": ["bd_plugin_query gives one descriptor and has no side effects"],
    "query-writes": ["a host of a later minor version is answered"],
    "query-refuses": ["a host of a later minor version is answered"],
    "other-major": ["a host of another major version is answered"],
    "flags": ["bucketdisk takes its tables and option rows"],
    "two-lines": ["version and summaries are one line each"],
    "full-stop": ["every option has help of one line without a full stop"],
    "taken": ["its options have names that no option of a mount has"],
}
CODEC = {
    "fails-silently": ["it opens without keys, or says in one sentence what is missing"],
    "no-alias": ["it opens under each alias"],
    "case-matters": ["it opens whatever the case of its token is"],
    "one-at-a-time": ["instances open and close at once on several threads"],
    "other-token": ["the token that objects carry is one of its own"],
    "loses-a-byte": ["blocks of every size come back", "a block tells its length where any will do"],
    "claims-all": ["its family claims no token of another plugin"],
    "needs-length": ["a block tells its length where any will do"],
    "over-bound": ["encode writes no more than bound says"],
    "over-cap": ["decode writes no more than cap"],
    "changes-input": ["what it is given is left as it is"],
    "declines": ["encode declines only if it may"],
    "bad-attribute": ["its attributes are legal"],
    "plaintext": ["what it encrypts cannot be read"],
    "coding-struct": ["a later host's longer structs and new flags are left alone"],
    "refuses-flags": ["a later host's longer structs and new flags are left alone"],
    "workers-differ": ["two threads with a worker each agree"],
    "keeps-a-secret": ["close ends all that open began"],
    "tells": ["no key, passphrase or plaintext reaches the log"],
    "tells-its-key": ["no key, passphrase or plaintext reaches the log"],
    "accepts-short": ["a truncated block is CORRUPT", "noise is CORRUPT"],
    "mac-without-end": ["a block with a flipped bit is CORRUPT"],
    "ignores-the-rest": ["a block with bytes behind it is CORRUPT"],
    "reads-nothing": ["noise is CORRUPT", "a truncated block is CORRUPT"],
    "fills-what-there-is": ["a block that needs more room than there is is CORRUPT"],
    "ignores-attributes": ["a block with changed attributes is CORRUPT"],
    "mac-without-place": ["a block from another place is CORRUPT"],
    "mac-without-key": ["a block of another key is CORRUPT"],
}
KEYWRAP = {
    "other-key": ["a wrapped key comes back", "keys of 16 to 64 bytes come back"],
    "only-32": ["keys of 16 to 64 bytes come back"],
    "quotes": ["a wrapped key is plain text, in which the key is not"],
    "wrong-is-corrupt": ["a wrong passphrase is DENIED, without a word", "a wrapped key with a flipped bit gives no other key",
                         "a truncated wrapped key gives no other key"],
    "complains": ["a wrong passphrase is DENIED, without a word"],
    "seals-nothing": ["a wrapped key with a flipped bit gives no other key"],
    "is-silent": ["a truncated wrapped key gives no other key"],
    "over-room": ["nothing is written past the room there is"],
    "subkeys-change": ["a subkey is the same each time"],
    "prefixes": ["subkeys of other purposes, lengths and keys differ"],
    "short-purpose": ["subkeys of other purposes, lengths and keys differ"],
    "tells-passphrase": ["no key or passphrase reaches the log"],
}
OBJECTS = {
    "more-of-nothing": ["it opens, and its place is empty"],
    "no-identity": ["it says what it is"],
    "info-overflows": ["info fills no more than the size that it is told"],
    "host-struct": ["structs that are longer than it knows are left alone"],
    "global": ["two instances at once are independent"],
    "one-at-a-time": ["instances open and close at once on several threads"],
    "takes-signals": ["its threads block all signals"],
    "needs-a-counter": ["it works where there are no statistics"],
    "one-identity": ["another place has another identity"],
    "fails-silently": ["a container that does not exist is said to be missing"],
    "vanished-is-absent": ["a container that vanished is not taken for absent objects"],
    "leaves-a-thread": ["close ends all that open and requests began"],
    "leaves-a-file": ["close ends all that open and requests began"],
    "leaves-a-timer": ["close ends all that open and requests began"],
    "loses-a-byte": [BODIES],
    "refuses-the-largest": [BODIES],
    "takes-too-much": ["a body that is too long is INVALID"],
    "ignores-offset": ["a GET gives the range that was asked for"],
    "writes-past-cap": ["a GET writes nothing past cap"],
    "absent-is-empty": ["what was never put is ABSENT"],
    "absent-delete": ["a DELETE removes one object, and is OK if there is none",
                      "a DELETE_MANY has a status for every name", "a DELETE_MANY takes as many names as it says"],
    "leaves-out-statuses": ["a DELETE_MANY has a status for every name", "a DELETE_MANY takes as many names as it says"],
    "few-names": ["a DELETE_MANY takes as many names as it says"],
    "few-attributes": ["attributes and encoding come back"],
    "ignores-stride": ["attributes and encoding come back"],
    "crashes": ["attributes and encoding come back"],
    "stale-head": ["a PUT replaces body, encoding and attributes whole"],
    "merges-attributes": ["a PUT replaces body, encoding and attributes whole"],
    "head-tag": ["a HEAD says what a GET does"],
    "one-tag": ["another body has another tag, the same in PUT and GET"],
    "puts-without-tag": ["another body has another tag, the same in PUT and GET", "a PUT is done only if if_match holds",
                         "a PUT is done only if if_none_match holds", "a GET answers only if its conditions hold",
                         "a GET of an absent object with a condition finds none", "a DELETE is done only if if_match holds"],
    "decodes-names": ["names that differ are different objects"],
    "cuts-names": ["names of up to 1024 bytes are held, or INVALID"],
    "refuses-names": ["names of any bytes are held and listed, or INVALID"],
    "changes-requests": ["a request is at its end as it was at its begin"],
    "unknown-is-ok": ["an operation that it does not know is UNSUPPORTED"],
    "scratch": ["requests use no more scratch than it asks for"],
    "touches-later": ["a request is left alone from complete on"],
    "ignores-deadlines": ["what comes after its deadline changes nothing"],
    "ignores-if-match": ["a PUT is done only if if_match holds"],
    "ignores-if-none-match": ["a PUT is done only if if_none_match holds",
                              "of PUTs with one condition at once one is done"],
    "knows-no-if-none-match-tag": ["a PUT is done only if if_none_match holds"],
    "ignores-get-conditions": ["a GET answers only if its conditions hold"],
    "absent-match": ["a GET of an absent object with a condition finds none"],
    "ignores-delete-conditions": ["a DELETE is done only if if_match holds"],
    "ignores-unclaimed": ["conditions that it does not claim are refused"],
    "ignores-prefix": ["a LIST gives the names with its prefix", "a LIST starts after a name, which need not exist"],
    "needs-a-prefix": ["a LIST without a prefix gives every name"],
    "after-must-exist": ["a LIST starts after a name, which need not exist"],
    "over-limit": ["a LIST gives at most its limit, and says if there are more"],
    "never-enough": ["a LIST stops when list_add says enough"],
    "lists-deleted": ["a LIST does not give what was deleted"],
    "listed-sizes": ["a LIST gives sizes and tags that are true"],
    "twice": ["of many requests from many threads each completes exactly once"],
    "mixes-up": ["of many requests from many threads each gets its own answer"],
    "busy-after-complete": ["it can be closed as soon as the last request has completed"],
    "torn": ["a reader sees the old version or the new one, whole"],
    "waits": ["submit returns promptly"],
    "late": ["requests end by their deadlines"],
}
READS = "what reads from a store that stalls ends by its deadline, as RETRY"
WRITES = "what writes to a store that stalls ends by its deadline, as RETRY or UNKNOWN"
GOES_ON = "after that requests work again, and a PUT that was RETRY is not carried out"
STALLED = {
    "stalled-get-is-absent": [READS],
    "stalled-list-is-unknown": [READS],
    "stalled-get-never-ends": [READS],
    "stalled-put-is-denied": [WRITES],
    "stalled-put-is-late": [WRITES],
    "stalled-put-is-kept": [GOES_ON],
    "stalls-for-ever": [GOES_ON],
}


class Wrong(unittest.TestCase):
    def check(self, plugin, wrong, expected, options=QUICK, made=None):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            if made:
                os.mkdir(made)
                place = made
            checked = Checked([*options, plugin, "--", *([place] if plugin == BACKEND else [])], wrong)
        self.assertEqual(checked.failed, set(expected), f"{wrong}:\n{checked.text}{checked.errors}")
        self.assertEqual(checked.status, 1 if expected else 0, checked.text)
        return checked

    def check_all(self, plugin, prefix, ways):
        """Many at once: most of it is waiting."""
        def one(way):
            with self.subTest(way=way):
                self.check(plugin, way, [prefix + row for row in ways[way]])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(one, way) for way in ways]:
                done.result()

    def test_a_right_plugin_passes(self):
        self.assertGreater(len(self.check(CRYPTO, None, []).passed), 40)
        backend = self.check(BACKEND, None, [])
        self.assertGreater(len(backend.passed), 50)
        self.assertEqual(backend.skipped, {B + "conditions that it does not claim are refused",
                                           B + "its identity is the same each time", B + READS, B + WRITES, B + GOES_ON})

    def test_a_later_host_may_be_given_another_descriptor(self):
        self.check(CRYPTO, "two-descriptors", [])

    def test_a_page_may_have_less_than_its_limit(self):
        self.check(BACKEND, "short-pages", [])

    def test_a_backend_may_claim_little(self):
        self.check(BACKEND, "claims-nothing", [])

    def test_what_is_wrong_with_loading_is_found(self):
        self.check_all(CRYPTO, "", LOADING)
        self.check(PLUGINS / "exports" / "crypto-wrong.so", None, ["it exports bd_plugin_query and nothing else"])

    def test_a_missing_symbol_is_found(self):
        checked = Checked([*QUICK, UNRESOLVED])
        self.assertIn("it loads, with every symbol resolved", checked.failed)
        self.assertIn("bd_a_symbol_that_nobody_has", checked.text)
        self.assertIn("does not load codec-case.so", checked.text)

    def test_wrong_codecs_are_found(self):
        self.check_all(CRYPTO, C, CODEC)
        self.assertIn(C + "it opens", Checked([*QUICK, CRYPTO], "never-opens").failed)

    def test_a_wrong_name_is_found(self):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            path = shutil.copy(CRYPTO, Path(place, "crypto_wrong.so"))
            self.assertIn("the file is named NAME.so, of a-z 0-9 and -", Checked([*QUICK, path]).failed)

    def test_wrong_key_wraps_are_found(self):
        self.check_all(CRYPTO, K, KEYWRAP)

    def test_wrong_backends_are_found(self):
        self.check_all(BACKEND, B, OBJECTS)

    def test_a_backend_that_cannot_be_opened_is_refused_in_its_own_words(self):
        checked = Checked([*QUICK, BACKEND], "never-opens")
        self.assertEqual((checked.status, checked.failed, checked.bails),
                         (2, set(), ["Bail out! it cannot be opened: it is worn out: buy another one"]), checked.text)

    def test_where_open_fails_no_other_sentence_is_quoted(self):
        checked = Checked([*QUICK, BACKEND], "opens-rarely")
        self.assertEqual(checked.below[B + "a GET writes nothing past cap"], "")
        self.assertEqual(checked.below[B + "a DELETE removes one object, and is OK if there is none"],
                         "# open: expected OK, came FATAL\n# it said: it is worn out: buy another one")
        self.assertIn("The contract", checked.below[B + "two instances at once are independent"])

    def test_operations_are_named_and_a_missing_reason_is_left_out(self):
        below = self.check(BACKEND, "changes-requests", [B + OBJECTS["changes-requests"][0]]).below
        self.assertIn("# GET: a field that says", below[B + OBJECTS["changes-requests"][0]])
        below = self.check(BACKEND, "scratch", [B + OBJECTS["scratch"][0]]).below
        self.assertIn("# PUT wrote behind the 0 bytes of scratch", below[B + OBJECTS["scratch"][0]])
        below = Checked([*QUICK, BACKEND], "deleted-is-absent").below
        self.assertEqual(below[B + "a request is left alone from complete on"].splitlines()[0],
                         "# DELETE: expected OK, came ABSENT")

    def test_whoever_crashes_is_told_how_to_see_where(self):
        hint = "# To see where it crashed build the plugin with -g -fsanitize=address"
        self.assertIn(hint, self.check(BACKEND, "crashes", [B + OBJECTS["crashes"][0]]).text)
        self.assertNotIn(hint, self.check(BACKEND, "scratch", [B + OBJECTS["scratch"][0]]).text)

    def test_what_must_be_told_is_asked_for(self):
        skips = Checked([*QUICK, BACKEND]).skips
        for row, word in (("another place has another identity", "--other=LOCATION"),
                          ("a container that does not exist is said to be missing", "--absent=LOCATION"),
                          ("a container that vanished is not taken for absent objects", "--vanish=COMMAND")):
            self.assertIn(word, skips[B + row])

    def test_another_place_may_be_told(self):
        with tempfile.TemporaryDirectory(prefix="check-") as other:
            self.check(BACKEND, None, [], [*QUICK, f"--other={other}"])
            self.check(BACKEND, "one-identity", [B + "another place has another identity"], [*QUICK, f"--other={other}"])
            self.assertEqual(os.listdir(other), [])

    def refused(self, sentence, options, *words):
        """The user's mistakes are no rows that fail, and leave nothing."""
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            checked = Checked([*QUICK, *[option.replace("PLACE", place) for option in options], BACKEND, "--", place, *words])
            self.assertEqual((checked.status, checked.failed), (2, set()), checked.text)
            self.assertEqual(len(checked.bails), 1, checked.text)
            self.assertIn(sentence, checked.bails[0])
            self.assertEqual(os.listdir(place), [])

    def test_what_its_user_did_wrong_is_not_the_plugins(self):
        self.refused("does not exist: make it", ["--other=PLACE/none"])
        self.refused("is LOCATION itself", ["--other=PLACE"])
        self.refused("is LOCATION itself", ["--other=PLACE/."])
        self.refused("what was stored before it is still there", ["--vanish=true"])
        self.refused("the command has failed: exit 4", ["--stall=true", "--resume=exit 4"])
        self.refused("--other is an option of the check: it stands before --", [], "--other=/tmp")
        self.refused("there is no option --nosuch", [], "--nosuch")

    def test_a_command_may_take_the_place_away(self):
        row = B + "a container that vanished is not taken for absent objects"
        for wrong, expected in ((None, []), ("vanished-is-absent", [row])):
            with tempfile.TemporaryDirectory(prefix="check-") as place:
                checked = self.check(BACKEND, wrong, expected, [*QUICK, f"--vanish=rmdir {place}/place"], os.path.join(place, "place"))
                self.assertNotIn(row, checked.skipped)
                self.assertEqual(os.listdir(place), [])
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            checked = Checked([*QUICK, "--vanish=exit 3", BACKEND, "--", place])
        self.assertEqual((checked.status, checked.bails), (2, ["Bail out! --vanish: the command has failed: exit 3"]))

    def stalled(self, wrong, expected):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            made = os.path.join(place, "place")
            options = [*QUICK, f"--stall=touch {made}/stalled", f"--resume=rm {made}/stalled"]
            checked = self.check(BACKEND, wrong, [B + row for row in expected], options, made)
            self.assertEqual(os.listdir(made), [])
        self.assertFalse({B + READS, B + WRITES, B + GOES_ON} & checked.skipped)

    def test_a_store_may_stall(self):
        self.stalled(None, [])

    def test_who_is_wrong_about_a_store_that_stalls_is_found(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for way, done in [(way, pool.submit(self.stalled, way, STALLED[way])) for way in STALLED]:
                with self.subTest(way=way):
                    done.result()

    def test_a_check_that_is_stopped_lets_the_store_go_on(self):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            process = subprocess.Popen([BUCKETDISK, "plugin", "check", f"--stall=touch {place}/stalled",
                                        f"--resume=rm {place}/stalled", BACKEND, "--", place],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       env={**os.environ, "WRONG": "stalled-get-never-ends"})
            while not os.path.exists(f"{place}/stalled") and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            text, errors = process.communicate(timeout=60)
            self.assertEqual(os.listdir(place), [])
        self.assertEqual((process.returncode, "Bail out! interrupted" in text), (2, True), text + errors)

    def test_where_the_store_does_not_go_on_its_user_is_told(self):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            checked = Checked([*QUICK, "--stall=true", "--resume=exit 4", BACKEND, "--", place])
            self.assertEqual((checked.status, checked.bails), (2, ["Bail out! --resume: the command has failed: exit 4"]))
            self.assertEqual(os.listdir(place), [])
        self.assertNotIn("left in", checked.text)

    def test_options_that_make_no_sense_are_refused(self):
        for words, sentence in ((["--stall=true", BACKEND], "--stall and --resume belong together"),
                                (["--stall=", "--resume=", BACKEND], "--stall is empty"), (["--other=", BACKEND], "--other is empty"),
                                (["--vanish=", BACKEND], "--vanish is empty"), (["--absent=", BACKEND], "--absent is empty"),
                                ([BACKEND, "/tmp"], '"/tmp" is too much'), ([], "which plugin?"),
                                (["--other=/tmp", CRYPTO], "--other is about a backend, and"),
                                (["--stall=true", "--resume=true", CRYPTO], "--stall is about a backend, and")):
            checked = run(["check", *words])
            self.assertEqual(checked.returncode, 2, checked.stdout)
            self.assertIn(sentence, checked.stderr)

    def test_wrong_options_are_found(self):
        self.check(BACKEND, "check-overflows", ["check says OK, or INVALID and why in the room that it has"])

    def test_the_line_that_tells_a_secret_is_shown_without_it(self):
        row = "no secret option reaches the log"
        for plugin, way, failed, line in (
                (BACKEND, "tells", row, "the value of the option secret is in what it said: a secret was given: {}"),
                (BACKEND, "check-tells", row, "the value of the option secret is in what it said: {} is no good secret"),
                (CRYPTO, "tells-its-key", C + "no key, passphrase or plaintext reaches the log",
                 "a key that host->key gave is in what it said: key {}:..:.."),
                (CRYPTO, "tells-passphrase", K + "no key or passphrase reaches the log",
                 "the passphrase is in what it said: wrapped with {}")):
            with self.subTest(way=way):
                below = self.check(plugin, way, [failed]).below[failed].splitlines()
                self.assertRegex(below[0], "^# " + line.replace("{}", r"\*+") + "$")
                self.assertTrue(below[1].startswith("# The contract"), below)

    def test_listings_out_of_order_are_found(self):
        checked = Checked([*QUICK, BACKEND], "backwards")
        self.assertIn(B + "a LIST gives every name once, in byte order", checked.failed)
        self.assertTrue(all("LIST" in row or "listed" in row for row in checked.failed), checked.text)

    def test_what_never_ends_is_given_up(self):
        checked = self.check(BACKEND, "never", [B + "what was never put is ABSENT"], SHORT)
        self.assertIn("a request must complete by its deadline", checked.text)
        checked = self.check(BACKEND, "hangs", [B + "an operation that it does not know is UNSUPPORTED"], SHORT)
        self.assertIn("it must end, and had not after 3000 ms", checked.text)

    def test_whoever_is_interrupted_tidies_up_and_shows_no_secret(self):
        with tempfile.TemporaryDirectory(prefix="check-") as place:
            process = subprocess.Popen([BUCKETDISK, "plugin", "check", BACKEND, "--", place, "--wrong-secret=hush"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       env={**os.environ, "WRONG": "hangs"})
            for line in process.stdout:
                if "names that differ" in line:         # the next one hangs
                    break
            words = Path("/proc", str(process.pid), "cmdline").read_bytes()
            process.send_signal(signal.SIGINT)
            text, errors = process.communicate(timeout=60)
        self.assertNotIn(b"hush", words)
        self.assertEqual((process.returncode, "Bail out! interrupted" in text), (2, True), text + errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
