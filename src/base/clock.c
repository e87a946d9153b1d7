/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

#define DAY_S  86400u
#define LAST_S 253402300799 /* 9999-12-31T23:59:59Z */

/* The virtual clock of tests; zero in every real process. */
static _Atomic uint64_t fake_mono;
static _Atomic uint64_t fake_wall;

static uint64_t
now_us(clockid_t which)
{
	struct timespec t;

	ASSERT(clock_gettime(which, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t
clock_mono_us(void)
{
	uint64_t fake = atomic_load_explicit(&fake_mono, memory_order_relaxed);

	return fake ? fake : now_us(CLOCK_MONOTONIC);
}

uint64_t
clock_wall_us(void)
{
	uint64_t fake = atomic_load_explicit(&fake_wall, memory_order_relaxed);

	return fake ? fake : now_us(CLOCK_REALTIME);
}

void
clock_fake(uint64_t mono_us, uint64_t wall_us)
{
	atomic_store_explicit(&fake_mono, mono_us, memory_order_relaxed);
	atomic_store_explicit(&fake_wall, wall_us, memory_order_relaxed);
}

struct date {
	uint64_t year;
	unsigned month; /* 1..12 */
	unsigned day;   /* 1..31 */
};

/*
 * Both directions count years from March, so that the leap day is a year's last; 400 years are 146097 days
 * and day 0 is 0000-03-01, which lies 719468 days before 1970.
 */
static struct date
date_of_days(uint64_t days)
{
	uint64_t z = days + 719468;
	uint64_t era = z / 146097;
	unsigned doe = (unsigned)(z % 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;

	return (struct date){
		.year = era * 400 + yoe + (month <= 2), .month = month, .day = doy - (153 * mp + 2) / 5 + 1};
}

static int64_t
days_of_date(struct date d)
{
	uint64_t y = d.year + 400 - (d.month <= 2); /* 400 years up: year 0 must not go below zero */
	uint64_t yoe = y % 400;
	unsigned mp = d.month > 2 ? d.month - 3 : d.month + 9;
	uint64_t doy = (153 * mp + 2) / 5 + d.day - 1;
	uint64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return (int64_t)(y / 400 * 146097 + doe) - 719468 - 146097;
}

/* `width` decimal digits of v at dst. */
static char *
put_digits(char *dst, uint64_t v, int width)
{
	for (int i = width; i-- > 0; v /= 10)
		dst[i] = (char)('0' + v % 10);
	return dst + width;
}

char *
time_format(uint64_t wall_us, char *dst)
{
	uint64_t s = wall_us / 1000000;
	struct date d = date_of_days(s / DAY_S);
	uint64_t rest = s % DAY_S;
	char *p = put_digits(dst, d.year, d.year > 9999 ? 6 : 4);

	*p++ = '-';
	p = put_digits(p, d.month, 2);
	*p++ = '-';
	p = put_digits(p, d.day, 2);
	*p++ = 'T';
	p = put_digits(p, rest / 3600, 2);
	*p++ = ':';
	p = put_digits(p, rest / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, rest % 60, 2);
	*p++ = '.';
	p = put_digits(p, wall_us % 1000000, 6);
	*p++ = 'Z';
	*p = '\0';
	return dst;
}

/* A reader over the text; `bad` is sticky. */
struct scan {
	struct str rest;
	bool bad;
};

static char
next_char(struct scan *s)
{
	if (s->rest.n == 0) {
		s->bad = true;
		return '\0';
	}
	char c = s->rest.p[0];
	s->rest = str_sub(s->rest, 1, s->rest.n);
	return c;
}

static void
expect(struct scan *s, char want)
{
	char c = next_char(s);

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 32);
	if (c != want)
		s->bad = true;
}

/* Exactly `width` digits with a value in [min, max]. */
static unsigned
number(struct scan *s, size_t width, unsigned min, unsigned max)
{
	uint64_t v = 0;
	struct str digits = str_sub(s->rest, 0, width);

	if (digits.n != width || !str_to_u64(digits, &v) || v < min || v > max) {
		s->bad = true;
		return min;
	}
	s->rest = str_sub(s->rest, width, s->rest.n);
	return (unsigned)v;
}

/* An optional fraction in microseconds; digits after the sixth are dropped. */
static unsigned
fraction(struct scan *s)
{
	unsigned us = 0, unit = 100000;
	size_t n = 0;

	if (s->rest.n == 0 || s->rest.p[0] != '.')
		return 0;
	next_char(s);
	for (; s->rest.n && s->rest.p[0] >= '0' && s->rest.p[0] <= '9'; n++, unit /= 10)
		us += (unsigned)(next_char(s) - '0') * unit;
	if (n == 0 || n > 9)
		s->bad = true;
	return us;
}

/* 'Z' or an offset, in seconds east of UTC. */
static int64_t
offset(struct scan *s)
{
	char sign = next_char(s);

	if (sign == 'Z' || sign == 'z')
		return 0;
	if (sign != '+' && sign != '-')
		s->bad = true;
	int64_t v = (int64_t)number(s, 2, 0, 23) * 3600;
	expect(s, ':');
	v += (int64_t)number(s, 2, 0, 59) * 60;
	return sign == '-' ? -v : v;
}

static unsigned
month_days(uint64_t year, unsigned month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

static struct date
scan_date(struct scan *s)
{
	struct date d = {.year = number(s, 4, 0, 9999)};

	expect(s, '-');
	d.month = number(s, 2, 1, 12);
	expect(s, '-');
	d.day = number(s, 2, 1, month_days(d.year, d.month));
	return d;
}

int
time_parse(struct str text, uint64_t *wall_us, struct err *e)
{
	struct scan s = {.rest = text};
	int64_t t = days_of_date(scan_date(&s)) * DAY_S;

	expect(&s, 'T');
	t += (int64_t)number(&s, 2, 0, 23) * 3600;
	expect(&s, ':');
	t += (int64_t)number(&s, 2, 0, 59) * 60;
	expect(&s, ':');
	t += number(&s, 2, 0, 60); /* a leap second counts as the next one */
	unsigned us = fraction(&s);
	t -= offset(&s);
	if (s.bad || s.rest.n)
		return err_set(e, ERR_INVALID, "not an RFC 3339 date and time");
	/* An offset can lead out of the years that can be written. */
	if (t < 0 || t > LAST_S)
		return err_set(e, ERR_INVALID, "date before 1970 or after 9999");
	*wall_us = (uint64_t)t * 1000000u + us;
	return 0;
}
