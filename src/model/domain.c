/* SPDX-License-Identifier: Apache-2.0 */
#include "model/domain.h"

#define LABEL_MAX 63
#define NAME_MAX_ 253

/* Registry suffixes under which anybody may register; the last labels alone would cover them all. Not the
 * whole public suffix list: the two-label suffixes that people are likely to type by mistake. */
static const char *const suffixes[] = {"co.uk", "org.uk", "gov.uk", "ac.uk", "com.au", "net.au", "org.au",
	"co.nz", "co.jp", "ne.jp", "or.jp", "ac.jp", "com.br", "com.cn", "com.mx", "com.tr", "com.tw",
	"com.sg", "com.hk", "com.ar", "co.in", "co.za", "co.kr", "co.il", "co.id", "co.th", "com.my",
	"com.ph", "com.vn", "com.ua", "com.pl", "github.io", "gitlab.io", "pages.dev", "workers.dev",
	"vercel.app", "netlify.app", "herokuapp.com", "web.app", "blogspot.com"};

static const char *const private_ends[] = {".localhost", ".local", ".internal", ".localdomain", ".invalid"};

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
	c = lower(c);
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool
ends_nocase(struct str s, const char *end)
{
	struct str e = str_z(end);
	return s.n > e.n && str_eq_nocase(str_sub(s, s.n - e.n, e.n), e);
}

/* A last label that reads as a number makes the whole name an address to some resolver: 127.1,
 * 0x7f000001, 1.2.3.4. */
static bool
ends_in_number(struct str host)
{
	struct str last = host;
	size_t dot;
	while ((dot = str_find(last, '.')) < last.n)
		last = str_sub(last, dot + 1, last.n);
	if (last.n == 0)
		return false;
	bool hex = last.n > 1 && last.p[0] == '0' && lower(last.p[1]) == 'x';
	for (size_t i = hex ? 2 : 0; i < last.n; i++) {
		if (hex ? !is_hex(last.p[i]) : !is_digit(last.p[i]))
			return false;
	}
	return true;
}

static const char *
label_refusal(struct str label)
{
	if (label.n == 0)
		return "empty label in host name";
	if (label.n > LABEL_MAX)
		return "a label of the host name is longer than 63 characters";
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return "labels must not start or end with a hyphen";
	for (size_t i = 0; i < label.n; i++) {
		char c = lower(label.p[i]);
		if (!is_digit(c) && (c < 'a' || c > 'z') && c != '-' && c != '_')
			return "invalid character in host name";
	}
	return NULL;
}

static const char *
labels_refusal(struct str host, size_t *count)
{
	*count = 0;
	if (host.n == 0)
		return "a host name is required";
	if (host.n > NAME_MAX_)
		return "the host name is longer than 253 characters";
	for (struct str rest = host; rest.p != NULL;) {
		const char *why = label_refusal(str_next(&rest, '.'));
		if (why != NULL)
			return why;
		++*count;
	}
	return NULL;
}

static bool
is_suffix(struct str host)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (str_eq_nocase(host, str_z(suffixes[i])))
			return true;
	}
	return false;
}

static const char *
public_refusal(struct str host, size_t labels)
{
	if (str_eq_nocase(host, STR("localhost")))
		return "localhost is not allowed";
	if (labels < 2)
		return "a top-level domain or single label is not allowed; provide a hostname like "
		       "\"example.com\"";
	for (size_t i = 0; i < ARRAY_LEN(private_ends); i++) {
		if (ends_nocase(host, private_ends[i]))
			return "names of private networks are not allowed";
	}
	return is_suffix(host) ? "a registry suffix is not allowed; provide a hostname below it" : NULL;
}

/* Things that show that the entry is more than a host; the order gives the clearest message. */
static const char *
shape_refusal(struct str s, enum domain_kind kind)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= 0x80)
			return "only ASCII is allowed; use the punycode form";
		if (s.p[i] <= ' ' || s.p[i] == 0x7f)
			return "whitespace and control characters are not allowed";
	}
	if (str_find_str(s, STR("://")) < s.n)
		return "a scheme is not allowed; provide a plain hostname like \"example.com\"";
	if (str_find(s, '@') < s.n)
		return "credentials are not allowed";
	if (kind != DOMAIN_HOST && str_find(s, '*') < s.n)
		return "wildcards are not allowed; a host covers its subdomains";
	return NULL;
}

static const char *
path_refusal(struct str path, enum domain_kind kind)
{
	if (path.n == 0)
		return NULL;
	if (kind != DOMAIN_WEB_SEARCH)
		return "a path is not allowed; provide a plain hostname like \"example.com\"";
	for (size_t i = 0; i < path.n; i++) {
		if (memchr("?#$,|^!", path.p[i], 7) != NULL)
			return "the path holds a character that is not allowed";
	}
	return NULL;
}

static size_t
colons(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == ':';
	return n;
}

const char *
domain_refusal(struct str s, enum domain_kind kind)
{
	static const char *const no_ip =
		"IP addresses are not supported; provide a plain hostname like \"example.com\"";
	const char *why = shape_refusal(s, kind);
	if (why != NULL)
		return why;
	if (kind == DOMAIN_HOST && str_starts(s, STR("*.")))
		s = str_sub(s, 2, s.n);
	size_t slash = str_find(s, '/');
	struct str host = str_sub(s, 0, slash), path = str_sub(s, slash + 1, s.n);
	if (kind == DOMAIN_HOST && slash < s.n)
		return "a path is not allowed; provide a plain host";
	if (str_find(host, '[') < host.n || colons(host) > 1)
		return no_ip;
	if (str_find(host, ':') < host.n)
		return "a port is not allowed";
	if (ends_in_number(host))
		return no_ip;
	size_t labels = 0;
	why = path_refusal(path, kind);
	if (why == NULL)
		why = labels_refusal(host, &labels);
	if (why == NULL && kind != DOMAIN_HOST)
		why = public_refusal(host, labels);
	return why;
}

static struct str
without_slash(struct str s)
{
	return str_ends(s, STR("/")) ? str_sub(s, 0, s.n - 1) : s;
}

bool
domain_equal(struct str a, struct str b)
{
	return str_eq_nocase(without_slash(a), without_slash(b));
}

struct str
domain_host(struct str url)
{
	size_t scheme = str_find_str(url, STR("://"));
	if (scheme < url.n)
		url = str_sub(url, scheme + 3, url.n);
	size_t end = 0;
	while (end < url.n && memchr("/?#", url.p[end], 3) == NULL)
		end++;
	url = str_sub(url, 0, end);
	size_t at = str_find(url, '@');
	if (at < url.n)
		url = str_sub(url, at + 1, url.n);
	return str_sub(url, 0, str_find(url, ':'));
}

bool
domain_covers(struct str entry, struct str host)
{
	if (!str_starts(entry, STR("*.")))
		return str_eq_nocase(entry, host);
	struct str end = str_sub(entry, 1, entry.n);
	return host.n > end.n && str_eq_nocase(str_sub(host, host.n - end.n, end.n), end);
}
