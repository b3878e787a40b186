/* SPDX-License-Identifier: Apache-2.0 */
/* core/places.c: who is next, and how many at once. */
#include "test.h"

#include "places.h"

#include <stdbool.h>
#include <string.h>

/* Requests are letters. */
static struct {
    struct stats *stats;
    struct places *places;
    struct place place[26];
    char went[64]; /* who, in order, since the test looked last */
} rig;

static void
went(struct place *place)
{
    size_t count = strlen(rig.went);

    assert_true(count + 1 < sizeof rig.went);
    rig.went[count] = (char)('a' + (place - rig.place));
}

static void
fresh(unsigned max)
{
    memset(&rig, 0, sizeof rig);
    assert_int_equal(stats_new(&rig.stats), 0);
    assert_int_equal(places_new(max, went, rig.stats, &rig.places), 0);
}

static void
over(void)
{
    places_free(rig.places);
    stats_free(rig.stats);
}

static struct place *
place_of(char who)
{
    return &rig.place[who - 'a'];
}

/* These come, and of all that wait those go. */
static void
come(const char *who, const char *go)
{
    for (; *who != '\0'; who++)
        places_get(rig.places, place_of(*who));
    assert_string_equal(rig.went, go);
    memset(rig.went, 0, sizeof rig.went);
}

/* These end well, or pause, and those go. */
static void
end(const char *who, bool is_success, const char *go)
{
    for (; *who != '\0'; who++)
        places_put(rig.places, place_of(*who), is_success);
    assert_string_equal(rig.went, go);
    memset(rig.went, 0, sizeof rig.went);
}

static void
busy(const char *who)
{
    for (; *who != '\0'; who++)
        places_lower(rig.places, place_of(*who));
}

TEST(places, as_many_as_may_go_and_the_others_follow_in_the_order_of_their_coming)
{
    fresh(3);
    come("abcdefg", "abc");
    end("b", true, "d");
    end("adc", true, "efg");
    end("efg", true, "");
    over();
}

TEST(places, who_comes_back_stands_where_its_age_says)
{
    fresh(1);
    come("abcdef", "a");
    end("a", false, "b");
    end("b", false, "c");
    end("c", false, "d");
    come("cab", "");
    end("d", true, "a");
    end("a", true, "b");
    end("b", true, "c");
    end("c", true, "e");
    end("e", true, "f");
    end("f", true, "");
    over();
}

TEST(places, a_busy_store_halves_the_limit_once_for_all_that_were_sent_before)
{
    fresh(8);
    come("abcdefgh", "abcdefgh");
    busy("abcdefgh"); /* 4 */
    end("abcdefgh", false, "");
    come("ijklmnop", "ijkl");
    busy("i"); /* sent after the halving, so this one counts again: 2 */
    end("ij", false, "");
    end("k", false, "m");
    end("lm", false, "no");
    end("no", false, "p");
    end("p", false, "");
    over();
}

TEST(places, the_limit_falls_to_one_and_rises_by_one_for_each_limit_of_successes)
{
    fresh(5);
    for (unsigned i = 0; i < 5; i++) { /* 5, 2, 1, 1, 1 */
        come("a", "a");
        busy("a");
        end("a", false, "");
    }
    come("abcdefghijklmnopq", "a");
    end("a", true, "bc"); /* 2 */
    end("b", true, "d");
    end("c", true, "ef"); /* 3 */
    end("d", true, "g");
    end("e", false, "h"); /* a failure is not counted */
    end("f", true, "i");
    end("g", true, "jk"); /* 4 */
    end("hij", true, "lmn");
    end("k", true, "op"); /* 5 */
    end("lmnop", true, "q");
    end("q", true, "");
    come("abcdefgh", "abcde"); /* and no further */
    end("abcdefgh", true, "fgh");
    over();
}

/* As come, in the background. */
static void
come_in_background(const char *who, const char *go)
{
    for (const char *one = who; *one != '\0'; one++)
        place_of(*one)->is_background = true;
    come(who, go);
}

TEST(places, half_of_the_places_stay_free_of_the_background)
{
    fresh(4);
    come_in_background("abcdef", "ab");
    come("xyz", "xy");
    end("x", true, "z");
    end("z", true, ""); /* two wait, and two places are held by their like */
    end("a", true, "c");
    end("b", true, "d");
    end("cd", true, "ef");
    end("efy", true, "");
    over();
}

TEST(places, one_in_the_background_takes_its_turn_and_more_go_while_nobody_else_waits)
{
    fresh(4);
    come("uvwx", "uvwx");
    come_in_background("abc", "");
    come("yz", "");
    end("u", true, "a"); /* the oldest that waits */
    end("v", true, "y");
    end("w", true, "z");
    end("x", true, "b");
    end("a", true, "c");
    come_in_background("d", "");
    come("kl", "");
    end("b", true, "k");
    end("y", true, "l");
    end("c", true, "d");
    end("zkld", true, "");
    over();
}

TEST(places, the_background_is_not_starved)
{
    fresh(1);
    come("z", "z");
    come_in_background("ab", "");
    come("y", "");
    end("z", true, "a");
    come("x", "");
    end("a", true, "b"); /* it came before y */
    end("b", true, "y");
    end("y", true, "x");
    end("x", true, "");
    over();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(places, as_many_as_may_go_and_the_others_follow_in_the_order_of_their_coming),
        RUN(places, who_comes_back_stands_where_its_age_says),
        RUN(places, a_busy_store_halves_the_limit_once_for_all_that_were_sent_before),
        RUN(places, the_limit_falls_to_one_and_rises_by_one_for_each_limit_of_successes),
        RUN(places, half_of_the_places_stay_free_of_the_background),
        RUN(places, one_in_the_background_takes_its_turn_and_more_go_while_nobody_else_waits),
        RUN(places, the_background_is_not_starved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
