/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/sse.h"

#define BETA_HEADER "anthropic-beta: managed-agents-2026-04-01"

struct api {
	char url[1024];
	struct secret *key;
	struct curl_slist *headers;      /* key and beta */
	struct curl_slist *json_headers; /* and the content type */
};

/* ---- where and who ---- */

/* The first line of a small file. ERR_IO, ERR_NOT_FOUND. */
static int
read_line(const char *path, char *out, size_t cap, struct err *e)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s does not exist", path)
				       : err_os(e, "open %s", path);
	ssize_t n = read(fd, out, cap - 1);
	if (n < 0)
		return err_os(e, "read %s", path);
	struct str line = str_trim(str_sub(str_n(out, (size_t)n), 0, str_find(str_n(out, (size_t)n), '\n')));
	if (line.n == 0)
		return err_set(e, ERR_INVALID, "%s is empty", path);
	memmove(out, line.p, line.n);
	out[line.n] = '\0';
	return 0;
}

static int
data_file(const struct api_opts *o, const char *name, char *out, size_t cap, struct err *e)
{
	int n = snprintf(out, cap, "%s/%s", o->data != NULL ? o->data : API_DEFAULT_DATA, name);
	return n > 0 && (size_t)n < cap ? 0
					: err_set(e, ERR_INVALID, "the data directory's path is too long");
}

static int
find_url(struct api *a, const struct api_opts *o, struct err *e)
{
	const char *env = getenv("PINFOLD_URL");
	const char *given = o->url != NULL                                   ? o->url
			    : o->data == NULL && env != NULL && *env != '\0' ? env
									     : NULL;
	char path[LIM_PATH], addr[256];
	if (given != NULL) {
		struct str s = str_z(given);
		while (s.n > 0 && s.p[s.n - 1] == '/')
			s.n--;
		return str_copy_z(s, a->url, sizeof(a->url)) ? 0
							     : err_set(e, ERR_INVALID, "the URL is too long");
	}
	int r = data_file(o, "listen", path, sizeof(path), e);
	if (r < 0)
		return r;
	if (read_line(path, addr, sizeof(addr), NULL) < 0)
		(void)str_copy_z(STR("127.0.0.1:8400"), addr, sizeof(addr));
	const char *scheme = str_starts(str_z(addr), STR("http")) ? "" : "http://";
	int n = snprintf(a->url, sizeof(a->url), "%s%s", scheme, addr);
	return n > 0 && (size_t)n < sizeof(a->url) ? 0 : err_set(e, ERR_INVALID, "the URL is too long");
}

static int
find_key(struct api *a, const struct api_opts *o, struct err *e)
{
	char path[LIM_PATH], line[1024];
	const char *env = getenv("PINFOLD_API_KEY");
	if (o->key_file == NULL && o->data == NULL && env != NULL && *env != '\0') {
		a->key = secret_new(str_z(env));
		return a->key != NULL ? 0 : err_set(e, ERR_INVALID, "PINFOLD_API_KEY is too long");
	}
	int r = 0;
	if (o->key_file != NULL)
		r = str_copy_z(str_z(o->key_file), path, sizeof(path))
			    ? 0
			    : err_set(e, ERR_INVALID, "the path is too long");
	else
		r = data_file(o, "admin.key", path, sizeof(path), e);
	r = r == 0 ? read_line(path, line, sizeof(line), e) : r;
	if (r == -ERR_NOT_FOUND && o->key_file == NULL)
		return err_set(e, ERR_NOT_FOUND,
			"no API key: %s does not exist; start a server (pinfold serve), name its data "
			"directory "
			"(--data), or give a key (PINFOLD_API_KEY, --key-file)",
			path);
	if (r < 0)
		return err_wrap(e, "no API key (set PINFOLD_API_KEY, or name a file with --key-file)");
	a->key = secret_new(str_z(line));
	secret_wipe(line, sizeof(line));
	return a->key != NULL ? 0 : err_set(e, ERR_NO_MEMORY, "out of memory");
}

static void
add_key_header(struct str key, void *arg)
{
	struct api *a = arg;
	char line[1100];
	int n = snprintf(line, sizeof(line), "Authorization: Bearer %.*s", STRF(key));
	if (n > 0 && (size_t)n < sizeof(line)) {
		a->headers = curl_slist_append(a->headers, line);
		a->json_headers = curl_slist_append(a->json_headers, line);
	}
	secret_wipe(line, sizeof(line));
}

int
api_open(const struct api_opts *o, struct api **out, struct err *e)
{
	AUTO(api) struct api *a = calloc(1, sizeof(*a));
	if (a == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = find_url(a, o, e);
	r = r == 0 ? find_key(a, o, e) : r;
	if (r < 0)
		return r;
	secret_use(a->key, add_key_header, a);
	a->headers = curl_slist_append(a->headers, BETA_HEADER);
	a->json_headers = curl_slist_append(a->json_headers, BETA_HEADER);
	a->json_headers = curl_slist_append(a->json_headers, "Content-Type: application/json");
	*out = MOVE(a);
	return 0;
}

void
api_close(struct api *a)
{
	if (a == NULL)
		return;
	curl_slist_free_all(a->headers);
	curl_slist_free_all(a->json_headers);
	secret_free(a->key);
	free(a);
}

struct str
api_url(const struct api *a)
{
	return str_z(a->url);
}

/* ---- calls ---- */

static size_t
on_bytes(char *p, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;
	buf_put(b, p, size * n);
	return buf_check(b, NULL) < 0 ? 0 : size * n;
}

static CURL *
easy_new(struct api *a, const char *path, struct err *e)
{
	char url[4096];
	CURL *c = curl_easy_init();
	int n = snprintf(url, sizeof(url), "%s%s", a->url, path);
	if (c == NULL || n < 0 || (size_t)n >= sizeof(url)) {
		curl_easy_cleanup(c);
		err_set(e, ERR_INVALID, "the URL is too long");
		return NULL;
	}
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, a->headers);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "pinfold/" PINFOLD_VERSION);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
	return c;
}

/* The error that an API answer describes. */
static int
api_error(long status, struct str body, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	enum err_kind kind = status >= 500 ? ERR_UNAVAILABLE : ERR_INVALID;
	for (int k = ERR_NONE + 1; k < ERR_COUNT; k++) {
		if (err_http_status((enum err_kind)k) == status) {
			kind = (enum err_kind)k;
			break;
		}
	}
	struct str msg = STR_NULL;
	if (json_parse(body, &v, NULL) == 0)
		msg = json_get_str(json_get(v, "error"), "message");
	if (msg.n == 0)
		return err_set(e, kind, "the server answered HTTP %ld", status);
	return err_set(e, kind, "%.*s", STRF(str_sub(msg, 0, ERR_MSG_MAX - 1)));
}

static int
perform(struct api *a, CURL *c, long *status, struct err *e)
{
	CURLcode rc = curl_easy_perform(c);
	if (rc == CURLE_COULDNT_CONNECT)
		return err_set(
			e, ERR_UNAVAILABLE, "no server answers at %s (is `pinfold serve` running?)", a->url);
	if (rc != CURLE_OK)
		return err_set(e, ERR_UNAVAILABLE, "%s: %s", a->url, curl_easy_strerror(rc));
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

static int
take_answer(long status, const struct buf *b, struct json_t **out, struct err *e)
{
	if (status < 200 || status > 299)
		return api_error(status, buf_str(b), e);
	return out != NULL ? json_parse(buf_str(b), out, e) : 0;
}

int
api_call(struct api *a, const char *line, struct str body, struct json_t **out, struct err *e)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY * 2);
	long status = 0;
	struct str path = str_z(line);
	struct str verb = str_next(&path, ' ');
	char method[16];
	ASSERT(path.p != NULL && str_copy_z(verb, method, sizeof(method)));
	CURL *c = easy_new(a, path.p, e);
	if (c == NULL)
		return -ERR_INVALID;
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	if (body.p != NULL || str_eqz(verb, "POST")) {
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, body.n > 0 ? a->json_headers : a->headers);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.n > 0 ? body.p : "");
	}
	int r = perform(a, c, &status, e);
	curl_easy_cleanup(c);
	return r < 0 ? r : take_answer(status, &b, out, e);
}

/* ---- files ---- */

static int
on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t total, curl_off_t now)
{
	(void)arg, (void)dltotal, (void)dlnow;
	if (total > (curl_off_t)MIB)
		dprintf(STDERR_FILENO, "\rupload %3d %%", (int)(now * 100 / total));
	return 0;
}

int
api_upload(struct api *a, const char *path, struct json_t **out, struct err *e)
{
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_NOT_FOUND, "%s is not a readable file", path);
	AUTO(buf) struct buf b;
	buf_init(&b, MIB);
	long status = 0;
	CURL *c = easy_new(a, "/v1/files", e);
	if (c == NULL)
		return -ERR_INVALID;
	curl_mime *mime = curl_mime_init(c);
	curl_mimepart *part = curl_mime_addpart(mime);
	curl_mime_name(part, "file");
	curl_mime_filedata(part, path);
	curl_easy_setopt(c, CURLOPT_MIMEPOST, mime);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	bool shown = isatty(STDERR_FILENO) == 1;
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, shown ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	int r = perform(a, c, &status, e);
	if (shown && st.st_size > (off_t)MIB)
		dprintf(STDERR_FILENO, "\r\033[K");
	curl_mime_free(mime);
	curl_easy_cleanup(c);
	return r < 0 ? r : take_answer(status, &b, out, e);
}

struct download {
	CURL *curl;
	int fd;
	struct buf error;
};

static size_t
on_download(char *p, size_t size, size_t n, void *arg)
{
	struct download *d = arg;
	long status = 0;
	size_t left = size * n;
	curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 299) {
		buf_put(&d->error, p, left);
		return left;
	}
	while (left > 0) {
		ssize_t w = write(d->fd, p, left);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return 0;
		p += w;
		left -= (size_t)w;
	}
	return size * n;
}

int
api_download(struct api *a, const char *path, int fd, struct err *e)
{
	struct download d = {.fd = fd};
	long status = 0;
	buf_init(&d.error, MIB);
	d.curl = easy_new(a, path, e);
	if (d.curl == NULL)
		return -ERR_INVALID;
	curl_easy_setopt(d.curl, CURLOPT_WRITEFUNCTION, on_download);
	curl_easy_setopt(d.curl, CURLOPT_WRITEDATA, &d);
	int r = perform(a, d.curl, &status, e);
	curl_easy_cleanup(d.curl);
	if (r == 0 && (status < 200 || status > 299))
		r = api_error(status, buf_str(&d.error), e);
	buf_done(&d.error);
	return r;
}

/* ---- streams ---- */

struct api_stream {
	struct api *api;
	CURLM *multi;
	CURL *easy;
	struct buf bytes;
	struct sse_reader sse;
	bool head;
	int (*on)(void *arg, const struct json_t *event, struct err *e);
	void *arg;
	int stop; /* what `on` returned last */
};

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct api_stream *s = arg;
	/* The blank line after the last header. */
	if (size * n == 2 && p[0] == '\r')
		s->head = true;
	return size * n;
}

/* One round of the transfer. 1: goes on; 0: ended; <0 failed. */
static int
stream_round(struct api_stream *s, struct err *e)
{
	int running = 0, left = 0;
	CURLMcode mc = curl_multi_perform(s->multi, &running);
	if (mc == CURLM_OK && running > 0 && s->bytes.n == 0)
		mc = curl_multi_poll(s->multi, NULL, 0, 1000, NULL);
	if (mc != CURLM_OK)
		return err_set(e, ERR_UNAVAILABLE, "stream: %s", curl_multi_strerror(mc));
	CURLMsg *m = curl_multi_info_read(s->multi, &left);
	if (m == NULL)
		return 1;
	if (m->data.result == CURLE_OK)
		return 0;
	return err_set(e, ERR_UNAVAILABLE, "stream: %s", curl_easy_strerror(m->data.result));
}

int
api_stream_open(struct api *a, const char *path, struct api_stream **out, struct err *e)
{
	struct api_stream *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	s->api = a;
	buf_init(&s->bytes, LIM_EVENT_BODY * 2);
	sse_init(&s->sse, LIM_EVENT_BODY);
	s->multi = curl_multi_init();
	s->easy = easy_new(a, path, e);
	if (s->multi == NULL || s->easy == NULL) {
		api_stream_close(s);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, &s->bytes);
	curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
	curl_multi_add_handle(s->multi, s->easy);
	int r = 1;
	while (r > 0 && !s->head)
		r = stream_round(s, e);
	long status = 0;
	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (r >= 0 && status != 200) {
		while (r > 0)
			r = stream_round(s, e);
		r = api_error(status, buf_str(&s->bytes), e);
	}
	if (r < 0) {
		api_stream_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void
api_stream_close(struct api_stream *s)
{
	if (s == NULL)
		return;
	if (s->multi != NULL && s->easy != NULL)
		curl_multi_remove_handle(s->multi, s->easy);
	curl_easy_cleanup(s->easy);
	curl_multi_cleanup(s->multi);
	buf_done(&s->bytes);
	sse_done(&s->sse);
	free(s);
}

static int
on_sse(void *arg, const struct sse_event *ev, struct err *e)
{
	struct api_stream *s = arg;
	AUTO(json) struct json_t *v = NULL;
	if (s->stop != 0 || str_eqz(ev->name, "ping"))
		return 0;
	int r = json_parse(ev->data, &v, e);
	if (r < 0)
		return r;
	s->stop = s->on(s->arg, v, e);
	return s->stop < 0 ? s->stop : 0;
}

int
api_stream_read(struct api_stream *s, int (*on)(void *arg, const struct json_t *event, struct err *e),
	void *arg, struct err *e)
{
	int more = 1;
	s->on = on;
	s->arg = arg;
	s->stop = 0;
	for (;;) {
		int r = sse_feed(&s->sse, buf_str(&s->bytes), on_sse, s, e);
		buf_clear(&s->bytes);
		if (r < 0)
			return r;
		if (s->stop > 0 || more <= 0)
			return s->stop > 0 ? s->stop : more;
		more = stream_round(s, e);
	}
}
