/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/oci.h"

#include <stdio.h>

#include "base/json.h"

/*
 * What root inside may do. Missing on purpose: SYS_ADMIN (mounts), SYS_PTRACE (PID 1 is the guest), MKNOD,
 * NET_RAW, NET_ADMIN, SYS_CHROOT, SYS_MODULE, SYS_BOOT, SYS_TIME, BPF, PERFMON.
 */
static const char *const capabilities[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_NET_BIND_SERVICE",
	"CAP_SETFCAP",
	"CAP_SETGID",
	"CAP_SETPCAP",
	"CAP_SETUID",
};

static const char *const default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LANG=C.UTF-8",
	NULL,
};

static const char *const masked[] = {
	"/proc/kcore",
	"/proc/keys",
	"/proc/sched_debug",
	"/proc/timer_list",
	"/sys/firmware",
};

/* ---- checking ---- */

/* An absolute path without empty, "." and ".." parts, and valid UTF-8 (it goes into JSON). */
static bool
clean_path(const char *z)
{
	struct str s = str_z(z);

	if (s.n < 1 || s.p[0] != '/' || !str_is_utf8(s))
		return false;
	if (s.n == 1)
		return true;
	s = str_sub(s, 1, s.n);
	while (s.p) {
		struct str part = str_next(&s, '/');

		if (part.n == 0 || str_eqz(part, ".") || str_eqz(part, ".."))
			return false;
	}
	return true;
}

static int
check_mounts(const struct oci_plan *p, struct err *e)
{
	if (p->n_mounts > OCI_MOUNTS_MAX)
		return err_set(e, ERR_INVALID, "over %d mounts", OCI_MOUNTS_MAX);
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct oci_mount *m = &p->mounts[i];

		if ((m->source && !clean_path(m->source)) || !clean_path(m->destination) ||
			!m->destination[1])
			return err_set(e, ERR_INVALID, "mount %zu: not a clean absolute path", i);
		if (!m->source && m->bytes == 0)
			return err_set(e, ERR_INVALID, "mount %zu: a memory file system without a size", i);
		for (size_t k = 0; k < i; k++)
			if (strcmp(p->mounts[k].destination, m->destination) == 0)
				return err_set(e, ERR_INVALID, "two mounts on %s", m->destination);
	}
	return 0;
}

int
oci_plan_check(const struct oci_plan *p, struct err *e)
{
	if (!clean_path(p->rootfs))
		return err_set(e, ERR_INVALID, "root: not a clean absolute path");
	if (!clean_path(p->cwd))
		return err_set(e, ERR_INVALID, "cwd: not a clean absolute path");
	if (!p->args || !p->args[0] || !clean_path(p->args[0]))
		return err_set(e, ERR_INVALID, "args: no program with an absolute path");
	if (!p->hostname || !p->hostname[0])
		return err_set(e, ERR_INVALID, "hostname: missing");
	for (size_t i = 0; p->env && p->env[i]; i++)
		if (!strchr(p->env[i], '='))
			return err_set(e, ERR_INVALID, "env %zu: no '='", i);
	return check_mounts(p, e);
}

/* ---- writing ---- */

static void
put_list(struct json_w *w, const char *key, const char *const *list)
{
	jw_key(w, key);
	jw_arr(w);
	for (; *list; list++)
		jw_z(w, *list);
	jw_arr_end(w);
}

static void
put_capabilities(struct json_w *w)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};

	jw_key(w, "capabilities");
	jw_obj(w);
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		jw_key(w, sets[i]);
		jw_arr(w);
		for (size_t k = 0; k < ARRAY_LEN(capabilities); k++)
			jw_z(w, capabilities[k]);
		jw_arr_end(w);
	}
	jw_obj_end(w);
}

static void
put_rlimit(struct json_w *w, const char *type, uint64_t v)
{
	jw_obj(w);
	jw_kz(w, "type", type);
	jw_kint(w, "hard", (int64_t)v);
	jw_kint(w, "soft", (int64_t)v);
	jw_obj_end(w);
}

static void
put_process(struct json_w *w, const struct oci_plan *p)
{
	jw_key(w, "process");
	jw_obj(w);
	jw_kbool(w, "terminal", false);
	jw_key(w, "user");
	jw_obj(w);
	jw_kint(w, "uid", 0);
	jw_kint(w, "gid", 0);
	jw_obj_end(w);
	put_list(w, "args", p->args);
	put_list(w, "env", p->env ? p->env : default_env);
	jw_kz(w, "cwd", p->cwd);
	put_capabilities(w);
	jw_key(w, "rlimits");
	jw_arr(w);
	put_rlimit(w, "RLIMIT_NOFILE", p->open_files ? p->open_files : 65536);
	put_rlimit(w, "RLIMIT_CORE", 0);
	jw_arr_end(w);
	jw_kbool(w, "noNewPrivileges", true);
	jw_obj_end(w);
}

static void
put_mount(struct json_w *w, const char *destination, const char *type, const char *source, const char *option)
{
	jw_obj(w);
	jw_kz(w, "destination", destination);
	jw_kz(w, "type", type);
	jw_kz(w, "source", source);
	jw_key(w, "options");
	jw_arr(w);
	jw_z(w, "nosuid");
	jw_z(w, "nodev");
	if (strcmp(type, "bind") == 0)
		jw_z(w, "bind");
	if (option)
		jw_z(w, option);
	jw_arr_end(w);
	jw_obj_end(w);
}

static void
put_mounts(struct json_w *w, const struct oci_plan *p)
{
	jw_key(w, "mounts");
	jw_arr(w);
	put_mount(w, "/proc", "proc", "proc", NULL);
	put_mount(w, "/dev", "tmpfs", "tmpfs", NULL);
	put_mount(w, "/sys", "sysfs", "sysfs", "ro");
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct oci_mount *m = &p->mounts[i];
		char size[40];

		snprintf(size, sizeof(size), "size=%llu", (unsigned long long)m->bytes);
		if (m->source)
			put_mount(w, m->destination, "bind", m->source, m->read_only ? "ro" : "rw");
		else
			put_mount(w, m->destination, "tmpfs", "tmpfs", size);
	}
	jw_arr_end(w);
}

static void
put_linux(struct json_w *w)
{
	static const char *const namespaces[] = {"pid", "network", "ipc", "uts", "mount"};

	jw_key(w, "linux");
	jw_obj(w);
	jw_key(w, "namespaces");
	jw_arr(w);
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
		jw_obj(w);
		jw_kz(w, "type", namespaces[i]);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_key(w, "maskedPaths");
	jw_arr(w);
	for (size_t i = 0; i < ARRAY_LEN(masked); i++)
		jw_z(w, masked[i]);
	jw_arr_end(w);
	jw_obj_end(w);
}

void
oci_plan_write(const struct oci_plan *p, struct buf *out)
{
	struct json_w w = json_w(out);

	jw_obj(&w);
	jw_kz(&w, "ociVersion", "1.0.2");
	put_process(&w, p);
	jw_key(&w, "root");
	jw_obj(&w);
	jw_kz(&w, "path", p->rootfs);
	jw_kbool(&w, "readonly", p->rootfs_read_only);
	jw_obj_end(&w);
	jw_kz(&w, "hostname", p->hostname);
	put_mounts(&w, p);
	put_linux(&w);
	jw_obj_end(&w);
}
