/* SPDX-License-Identifier: Apache-2.0 */
#include "io/confine.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/confine_parts.h"

/* What no role that stays root needs, nor runsc below it. */
static const unsigned root_drops[] = {
	CAP_LINUX_IMMUTABLE,
	CAP_NET_BROADCAST,
	CAP_NET_RAW,
	CAP_SYS_MODULE,
	CAP_SYS_RAWIO,
	CAP_SYS_PACCT,
	CAP_SYS_BOOT,
	CAP_SYS_TIME,
	CAP_SYS_TTY_CONFIG,
	CAP_AUDIT_WRITE,
	CAP_AUDIT_CONTROL,
	CAP_AUDIT_READ,
	CAP_MAC_OVERRIDE,
	CAP_MAC_ADMIN,
	CAP_SYSLOG,
	CAP_WAKE_ALARM,
	CAP_BLOCK_SUSPEND,
	CAP_PERFMON,
	CAP_BPF,
	CAP_CHECKPOINT_RESTORE,
};

int
confine_basic(struct err *e)
{
	static const struct rlimit none = {0, 0};

	umask(077);
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_os(e, "no core dumps");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_os(e, "not dumpable");
	return 0;
}

/* A filter, a capability or a uid is a thread's: others would keep what this one gives up. */
static int
check_single_threaded(struct err *e)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	if (!d)
		return err_os(e, "/proc/self/task");
	for (const struct dirent *x; (x = readdir(d));)
		n += x->d_name[0] != '.';
	closedir(d);
	return n == 1 ? 0 : err_set(e, ERR_FORBIDDEN, "confine: %u threads are running", n);
}

static int
drop_bounds(bool stay_root, struct err *e)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_os(e, "ambient capabilities");
	if (capng_get_caps_process() < 0)
		return err_set(e, ERR_IO, "cannot read the capabilities");
	if (!stay_root) {
		capng_clear(CAPNG_SELECT_BOUNDS);
		if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
			return err_set(e, ERR_IO, "cannot empty the capability bounding set");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(root_drops); i++)
		capng_update(CAPNG_DROP,
			(capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE |
				       CAPNG_BOUNDING_SET),
			root_drops[i]);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		return err_set(e, ERR_IO, "cannot drop capabilities");
	return 0;
}

static int
drop_caps(struct err *e)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_set(e, ERR_IO, "cannot clear the capabilities");
	return 0;
}

static int
change_ids(unsigned uid, unsigned gid, struct err *e)
{
	uid_t r, f, s;

	if (setgroups(0, NULL) < 0)
		return err_os(e, "drop the supplementary groups");
	if (setresgid(gid, gid, gid) < 0)
		return err_os(e, "change to gid %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		return err_os(e, "change to uid %u", uid);
	if (getresuid(&r, &f, &s) < 0 || r != uid || f != uid || s != uid)
		return err_set(e, ERR_IO, "the uid did not change to %u", uid);
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
		return err_set(e, ERR_FORBIDDEN, "uid 0 can be had back");
	return 0;
}

static int
become(const struct confine_opts *o, struct err *e)
{
	static const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
					  SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	int r;

	if (o->uid && prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return err_os(e, "secure bits");
	if ((r = drop_bounds(o->uid == 0, e)) < 0)
		return r;
	if (o->uid && ((r = change_ids(o->uid, o->gid, e)) < 0 || (r = drop_caps(e)) < 0))
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_os(e, "no_new_privs");
	/* Both are undone by a change of the uid, so they come after it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_os(e, "parent-death signal");
	return confine_basic(e);
}

static bool
has_allow_list(enum confine_profile p)
{
	return p == CONFINE_CONTROL || p == CONFINE_GATE || p == CONFINE_PUPPET;
}

int
confine(const struct confine_opts *o, struct err *e)
{
	int r;

	if ((r = check_single_threaded(e)) < 0)
		return r;
	if (has_allow_list(o->profile) && o->uid == 0)
		return err_set(e, ERR_FORBIDDEN, "confine: this role must not run as root");
	if (o->empty_netns && unshare(CLONE_NEWNET) < 0)
		return err_os(e, "unshare the network");
	if ((r = become(o, e)) < 0)
		return r;
	if (has_allow_list(o->profile) && (r = confine_landlock(o, e)) < 0)
		return r;
	return confine_seccomp(o->profile, e);
}
