/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands' way to a server: JSON calls, uploads, downloads and event streams, blocking, through libcurl.
 * The server's address and the key come from the options every such command has, the environment
 * (PINFOLD_URL, PINFOLD_API_KEY) or the data directory of a local server.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "base/secret.h"

#define API_DEFAULT_DATA "/var/lib/pinfold"

struct api;

/* The options every API command shares; put API_OPTS(struct) into its option table and a member `struct
 * api_opts api` into its struct. */
struct api_opts {
	const char *url, *key_file, *data;
	bool json;
};
#define API_OPTS(type)                                                                               \
	{"url", "URL", "address of the server (default: PINFOLD_URL, or the local server's)",        \
		offsetof(type, api) + offsetof(struct api_opts, url)},                               \
		{"key-file", "FILE",                                                                 \
			"file with the API key (default: PINFOLD_API_KEY, or the data directory's)", \
			offsetof(type, api) + offsetof(struct api_opts, key_file)},                  \
		{"data", "DIR", "data directory of a local server (default: " API_DEFAULT_DATA ")",  \
			offsetof(type, api) + offsetof(struct api_opts, data)},                      \
	{                                                                                            \
		"json", NULL, "print JSON", offsetof(type, api) + offsetof(struct api_opts, json)    \
	}

/* ERR_INVALID with advice when no address or key can be found. */
int api_open(const struct api_opts *o, struct api **out, struct err *e);
void api_close(struct api *a);
DEFINE_AUTO(api, struct api *, api_close, NULL);
/* The base URL, for hints to the user. */
struct str api_url(const struct api *a);

/* One call: "GET /v1/agents". `body` may be STR_NULL. On a 2xx *out is the parsed answer (`out` may be NULL
 * when the caller wants none). API errors become err with their kind and message. */
int api_call(struct api *a, const char *line, struct str body, struct json_t **out, struct err *e);

/* Uploads a file; progress goes to stderr when that is a terminal. *out is the file object. */
int api_upload(struct api *a, const char *path, struct json_t **out, struct err *e);
/* Downloads to an open descriptor. */
int api_download(struct api *a, const char *path, int fd, struct err *e);

/* An event stream. Opens it and returns once the server answered. */
struct api_stream;
int api_stream_open(struct api *a, const char *path, struct api_stream **out, struct err *e);
void api_stream_close(struct api_stream *s);
/* Reads on and calls `on` for each event; returns when `on` returns >0 (that value), <0 (an error), or 0 at
 * the end of the stream. */
int api_stream_read(struct api_stream *s, int (*on)(void *arg, const struct json_t *event, struct err *e),
	void *arg, struct err *e);
