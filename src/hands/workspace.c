/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/program.h"

#define DISK_NAME     "disk.ext4"
#define TREE_NAME     "tree"
#define MKFS_MS       120000
#define LOOP_TRIES    64
#define DETACH_MS     10
#define DETACH_ROUNDS 1000
#define LOOP_MAJOR    7

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

/*
 * What a new workspace holds. Directories that the image may not have exist in the upper, so that every mount
 * point is there whatever the image. /tmp is on the session's disk: a runtime that finds it empty would put a
 * memory file system there, hence the marker.
 */
static const struct {
	const char *path;
	mode_t mode;
} skeleton[] = {
	{"work", 0755},
	{"upper", 0755},
	{"upper/mnt", 0755},
	{"upper/mnt/session", 0755},
	{"upper/run", 0755},
	{"upper/run/pinfold", 0755},
	{"upper/workspace", 0755},
	{"upper/tmp", 01777},
	{"upper/tmp/.pinfold", 0755},
	{"workspace", 0755},
	{"uploads", 0755},
	{"session", 0755},
	{"session/uploads", 0755},
	{"session/outputs", 0755},
	{"session/tool_results", 0755},
};

/* ld.so reads the list at every exec. It stays right when runsc is updated, because the library is always
 * mounted. */
static int
write_preload(const char *dir, struct err *e)
{
	char path[HANDS_PATH];
	int r = beneath_make_dir(hands_path(path, "%s/upper/etc", dir), 0755, e);

	if (r < 0)
		return r;
	AUTO(fd) int etc = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (etc < 0)
		return err_os(e, "open %s", path);
	r = beneath_write(etc, "ld.so.preload", STR(WORKSPACE_PRELOAD "\n"), e);
	if (r == 0 && (chmod(path, 0755) < 0 || fchmodat(etc, "ld.so.preload", 0644, 0) < 0))
		r = err_os(e, "ld.so.preload");
	return r;
}

static int
make_skeleton(const char *dir, bool preload, struct err *e)
{
	char path[HANDS_PATH];
	int r = beneath_make_dir(dir, 0755, e);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(skeleton); i++) {
		hands_path(path, "%s/%s", dir, skeleton[i].path);
		if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chmod(path, skeleton[i].mode) < 0)
			r = err_os(e, "make %s", path);
	}
	return r == 0 && preload ? write_preload(dir, e) : r;
}

/* ---- the disk file ---- */

/* From `at` to `end`, in the kernel where it can: not between file systems of different kinds. */
static int
copy_part(int from, int to, off_t at, off_t end, struct err *e)
{
	char piece[64 * KIB];
	off_t out = at;

	while (at < end) {
		size_t left = (size_t)(end - at);
		ssize_t n = copy_file_range(from, &at, to, &out, left, 0);

		if (n > 0)
			continue;
		errno = EIO; /* for an end that comes too early */
		n = pread(from, piece, left < sizeof(piece) ? left : sizeof(piece), at);
		if (n <= 0 || pwrite(to, piece, (size_t)n, at) != n)
			return err_os(e, "copy the workspace template");
		at += n;
		out = at;
	}
	return 0;
}

/* Copies only the parts that hold data; shares blocks where the file system can. */
static int
copy_sparse(int from, int to, off_t size, struct err *e)
{
	off_t data, hole = 0;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (ftruncate(to, size) < 0)
		return err_os(e, "size of the workspace");
	while ((data = lseek(from, hole, SEEK_DATA)) >= 0) {
		hole = lseek(from, data, SEEK_HOLE);
		int r = copy_part(from, to, data, hole, e);

		if (r < 0)
			return r;
	}
	return errno == ENXIO ? 0 : err_os(e, "copy the workspace template");
}

static int
make_template(const struct workspace_opts *o, const char *path, struct err *e)
{
	char tmp[HANDS_PATH], skel[HANDS_PATH];
	struct program mkfs = {
		.argv = (const char *const[]){"mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", "-O",
			"^resize_inode,metadata_csum", "-E",
			"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", "-d", skel, tmp,
			NULL},
		.out = -1,
		.err = -1,
		.timeout_ms = MKFS_MS,
	};

	hands_path(tmp, "%s/.new.%d", o->templates_dir, (int)getpid());
	hands_path(skel, "%s/.skeleton.%d", o->templates_dir, (int)getpid());
	int r = make_skeleton(skel, o->preload, e);

	if (r == 0) {
		AUTO(fd) int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (fd < 0 || ftruncate(fd, (off_t)o->disk) < 0)
			r = err_os(e, "create %s", tmp);
	}
	if (r == 0)
		r = program_must(&mkfs, e);
	if (r == 0 && rename(tmp, path) < 0)
		r = err_os(e, "rename %s", tmp);
	beneath_remove(AT_FDCWD, skel, NULL);
	unlink(tmp);
	return r;
}

/* Opens the template for this size, making it when it is missing. */
static int
open_template(const struct workspace_opts *o, int *out, struct err *e)
{
	char path[HANDS_PATH];
	int r = beneath_make_dir(o->templates_dir, 0700, e);

	hands_path(path, "%s/v3-%llu%s.ext4", o->templates_dir, (unsigned long long)o->disk,
		o->preload ? "-preload" : "");
	*out = r == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (*out >= 0 || r < 0)
		return r;
	r = make_template(o, path, e);
	if (r < 0)
		return err_wrap(e, "workspace template");
	*out = open(path, O_RDONLY | O_CLOEXEC);
	return *out >= 0 ? 0 : err_os(e, "open %s", path);
}

static int
create_disk(const struct workspace_opts *o, const char *path, struct err *e)
{
	AUTO(fd) int from = -1;
	int r = open_template(o, &from, e);

	if (r < 0)
		return r;
	AUTO(fd) int to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (to < 0)
		return err_os(e, "create %s", path);
	return copy_sparse(from, to, (off_t)o->disk, e);
}

int
workspace_create(const struct workspace_opts *o, const char *dir, struct err *e)
{
	char tmp[HANDS_PATH], path[HANDS_PATH];
	const char *name = o->limited ? DISK_NAME : TREE_NAME;
	int r = beneath_make_dir(dir, 0700, e);

	/* By rename, because a creation that is cut must not look like a workspace. */
	hands_path(tmp, "%s/.new.%s", dir, name);
	hands_path(path, "%s/%s", dir, name);
	if (r == 0)
		r = beneath_remove(AT_FDCWD, tmp, e);
	if (r == 0)
		r = o->limited ? create_disk(o, tmp, e) : make_skeleton(tmp, o->preload, e);
	if (r == 0 && rename(tmp, path) < 0)
		r = err_os(e, "rename %s", tmp);
	return r;
}

bool
workspace_exists(const char *dir)
{
	char path[HANDS_PATH];

	return access(hands_path(path, "%s/%s", dir, DISK_NAME), F_OK) == 0 ||
	       access(hands_path(path, "%s/%s", dir, TREE_NAME), F_OK) == 0;
}

/* ---- mounting ---- */

/* True when a loop device holds this very file. */
static bool
holds(const char *device, const struct stat *file)
{
	struct loop_info64 info;
	char path[300];

	snprintf(path, sizeof(path), "/dev/%s", device);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
	       info.lo_inode == file->st_ino;
}

static bool
is_attached(const struct stat *file)
{
	AUTO(dir) DIR *d = opendir("/sys/block");
	char path[300];

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		if (strncmp(de->d_name, "loop", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%.200s/loop", de->d_name);
		if (access(path, F_OK) == 0 && holds(de->d_name, file))
			return true;
	}
	return false;
}

/* The mount namespaces of a sandbox that was killed vanish a moment after its processes, and hold the former
 * mount until then. A second file system on the same file would destroy both. */
static int
wait_detached(int file, struct err *e)
{
	struct stat st;

	if (fstat(file, &st) < 0)
		return err_os(e, "workspace");
	for (int i = 0; i < DETACH_ROUNDS; i++) {
		if (!is_attached(&st))
			return 0;
		usleep(DETACH_MS * 1000);
	}
	return err_set(e, ERR_CONFLICT, "the workspace is still mounted elsewhere");
}

/* Attaches the file to a free loop device. The device lets go of it by itself when it is unmounted last. */
static int
attach_loop(int file, char device[64], int *out, struct err *e)
{
	AUTO(fd) int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (ctl < 0)
		return err_os(e, "open /dev/loop-control");
	for (int i = 0; i < LOOP_TRIES; i++) {
		struct loop_config c = {.fd = (uint32_t)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
		int n = ioctl(ctl, LOOP_CTL_GET_FREE);

		if (n < 0)
			return err_os(e, "find a free loop device");
		snprintf(device, 64, "/dev/loop%d", n);
		/* Without devtmpfs the node has to be made. */
		if (access(device, F_OK) < 0 &&
			mknod(device, S_IFBLK | 0600, makedev(LOOP_MAJOR, (unsigned)n)) < 0 &&
			errno != EEXIST)
			return err_os(e, "make %s", device);
		AUTO(fd) int dev = open(device, O_RDWR | O_CLOEXEC);

		if (dev < 0)
			return err_os(e, "open %s", device);
		if (ioctl(dev, LOOP_CONFIGURE, &c) == 0) {
			*out = MOVE_FD(dev);
			return 0;
		}
		/* Somebody else was faster. */
		if (errno != EBUSY)
			return err_os(e, "configure %s", device);
	}
	return err_set(e, ERR_UNAVAILABLE, "no free loop device after %d tries", LOOP_TRIES);
}

static int
mount_disk(int file, const char *at, struct err *e)
{
	char device[64];
	AUTO(fd) int dev = -1;
	int r = wait_detached(file, e);

	if (r == 0)
		r = attach_loop(file, device, &dev, e);

	if (r < 0)
		return r;
	/* noinit_itable: else the kernel would fill every new workspace's inode tables in the background. */
	if (mount(device, at, "ext4", MS_NOSUID | MS_NODEV | MS_NOATIME, "noinit_itable,discard") < 0)
		return err_os(e, "mount %s", at);
	return 0;
}

int
workspace_mount(const char *dir, const char *at, struct err *e)
{
	char path[HANDS_PATH];
	int r = beneath_make_dir(at, 0700, e);

	if (r < 0)
		return r;
	AUTO(fd) int file = open(hands_path(path, "%s/%s", dir, DISK_NAME), O_RDWR | O_CLOEXEC);

	if (file >= 0)
		return mount_disk(file, at, e);
	hands_path(path, "%s/%s", dir, TREE_NAME);
	if (mount(path, at, NULL, MS_BIND, NULL) < 0 ||
		mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOATIME, NULL) < 0)
		return err_os(e, "mount %s", path);
	return 0;
}

int
workspace_overlay(const char *at, const char *image, const char *layer, const char *rootfs, struct err *e)
{
	char options[5 * HANDS_PATH];
	int r = beneath_make_dir(rootfs, 0700, e);

	if (r < 0)
		return r;
	snprintf(options, sizeof(options), "lowerdir=%s%s%s,upperdir=%s/upper,workdir=%s/work",
		layer ? layer : "", layer ? ":" : "", image, at, at);
	if (mount("overlay", rootfs, "overlay", MS_NOSUID | MS_NODEV | MS_NOATIME, options) < 0)
		return err_os(e, "overlay on %s", rootfs);
	return 0;
}

int
workspace_unmount(const char *path, struct err *e)
{
	if (umount2(path, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	if (errno == EBUSY && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return err_os(e, "unmount %s", path);
}

bool
workspace_can_limit(const char *templates_dir, const char *scratch, uint64_t disk, struct err *e)
{
	struct workspace_opts o = {.templates_dir = templates_dir, .disk = disk, .limited = true};
	char dir[HANDS_PATH], at[HANDS_PATH];

	hands_path(dir, "%s/disk", scratch);
	hands_path(at, "%s/disk.mount", scratch);
	int r = workspace_create(&o, dir, e);

	if (r == 0)
		r = workspace_mount(dir, at, e);
	if (r == 0)
		r = workspace_unmount(at, e);
	beneath_remove(AT_FDCWD, dir, NULL);
	rmdir(at);
	return r == 0;
}
