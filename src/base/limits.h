/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every ceiling on what a user, a model or a sandbox controls. One file, so that it can be read whole.
 */
#pragma once

#define KIB (1024ull)
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

/* ---- JSON, secrets, frames ---- */
#define LIM_JSON_DEPTH  64
#define LIM_JSON_VALUES 500000 /* members and elements of one document, nested ones included */
/* ... of a request's body and of a tool's input: lower, because both become part of larger documents */
#define LIM_JSON_FOREIGN_DEPTH  48
#define LIM_JSON_FOREIGN_VALUES 400000
#define LIM_SECRET              16384
#define LIM_FRAME_ROLE          (1 * MIB)  /* payload of one frame between roles */
#define LIM_FRAME_GUEST         (1 * MIB)  /* payload of one frame from or to guest */
#define LIM_FRAME_CLAIM         (2 * MIB)  /* ... of HANDS_CLAIM: holds LIM_RESOURCES longest paths */
#define LIM_CHUNK               (64 * KIB) /* piece in which bulk data is cut between roles */

/* ---- HTTP server ---- */
#define LIM_HTTP_LINE      (8 * KIB)  /* request line */
#define LIM_HTTP_HEAD      (32 * KIB) /* request line and headers */
#define LIM_HTTP_HEADERS   100
#define LIM_HTTP_BODY      (32 * MIB) /* JSON bodies, per the contract */
#define LIM_HTTP_CHUNK_EXT 256
#define LIM_HTTP_CONNS     19000
#define LIM_HTTP_HEAD_MS   10000 /* from first byte of a request to the end of its head */
#define LIM_HTTP_BODY_MS   60000 /* without a byte of the body */
#define LIM_HTTP_IDLE_MS   75000 /* keep-alive */
#define LIM_HTTP_WRITE_MS  60000 /* a response that makes no progress */
#define LIM_QUERY_PAIRS    256
#define LIM_REQ_ARENA      (4 * MIB)

/* ---- streams ---- */
#define LIM_STREAM_QUEUE (1 * MIB) /* bytes queued to a slow reader before previews are dropped */
#define LIM_STREAM_CLOSE (8 * MIB) /* ... before the connection is closed */
#define LIM_PING_MS      15000

/* ---- API objects (managed-agents contract) ---- */
#define LIM_ID             128
#define LIM_METADATA_PAIRS 16
#define LIM_METADATA_KEY   64
#define LIM_METADATA_VALUE 512
#define LIM_AGENT_NAME     256
#define LIM_AGENT_SYSTEM   100000
#define LIM_AGENT_DESC     2048
#define LIM_AGENT_TOOLS    256
#define LIM_AGENT_MCP      20
#define LIM_AGENT_SKILLS   500
#define LIM_TOOL_NAME      128
#define LIM_TOOL_DESC      1024
#define LIM_ENV_NAME       256
#define LIM_ENV_DESC       1024
#define LIM_ENV_HOSTS      256
#define LIM_ENV_PACKAGES   256
#define LIM_TITLE          500
#define LIM_RESOURCES      999
#define LIM_MOUNT_PATH     1024 /* bytes, with the folder we put before it */
#define LIM_INITIAL_EVENTS 50
#define LIM_SEND_EVENTS    100
#define LIM_CONTENT_BLOCKS 1000
#define LIM_EVENT_BODY     (32 * MIB)
#define LIM_QUEUED_EVENTS  1000 /* client events of a session not yet processed */
#define LIM_PAGE_MAX       1000

/* ---- files ---- */
#define LIM_FILE_BYTES      (500 * MIB)
#define LIM_FILES_TOTAL     (1024 * GIB)
#define LIM_FILE_NAME       255
#define LIM_MULTIPART_HEAD  (8 * KIB)
#define LIM_MULTIPART_FIELD (64 * KIB)
#define LIM_OUTPUT_FILES    1000       /* files of one session's outputs folder that are registered */
#define LIM_OUTPUT_BYTES    (10 * GIB) /* ... and their sizes together: holes cost a sandbox nothing, but us */

/* ---- model ---- */
#define LIM_MODEL_REQUEST   (32 * MIB)
#define LIM_MODEL_RESPONSE  (16 * MIB)
#define LIM_MODEL_BLOCKS    256
#define LIM_MODEL_TOOL_USES 64 /* in one response */
#define LIM_MODEL_TRIES     5
#define LIM_MODEL_IDLE_MS   120000  /* no byte from the model */
#define LIM_MODEL_TOTAL_MS  7200000 /* a whole answer, however it trickles */
#define LIM_TOOL_ROUNDS     1000    /* model requests in one turn */

/* ---- tools (guest) ---- */
#define LIM_BASH_OUTPUT    102400 /* characters kept */
#define LIM_BASH_MS        120000 /* default timeout */
#define LIM_BASH_MS_MAX    600000
#define LIM_READ_BYTES     262144
#define LIM_GREP_OUTPUT    102400
#define LIM_GREP_MS        60000
#define LIM_GLOB_WALK      50000
#define LIM_GLOB_RESULTS   200
#define LIM_PATH           4096
#define LIM_PATH_LINKS     40
#define LIM_TOOL_INPUT     (1 * MIB - 4096)
#define LIM_RESULT_OFFLOAD 100000 /* characters; longer results go to a file with a preview */
#define LIM_RESULT_PREVIEW 2000
#define LIM_GUEST_RESULTS  64 /* results kept until acknowledged */

/* ---- sandboxes ---- */
#define LIM_SANDBOX_MEMORY   (2 * GIB)
#define LIM_SANDBOX_PIDS     1024 /* host side, counts the Sentry's threads */
#define LIM_SANDBOX_PROCS    256  /* inside, per tool */
#define LIM_SANDBOX_DISK     (10 * GIB)
#define LIM_SANDBOX_FILE     (4 * GIB)
#define LIM_SANDBOX_START_MS 20000
#define LIM_SANDBOX_IDLE_MS  300000 /* idle before it is reaped */
#define LIM_SANDBOX_WALL_MS  86400000
