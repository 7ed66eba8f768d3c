/* The power button: how a host asks a guest that serves to finish what it does and go. */
#include "vm/init.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/input.h>

#define INPUTS "/dev/input"

static bool has_power_key(int fd)
{
    unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

    return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof keys), keys) >= 0 &&
           (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
}

int prop_init_power_open(void)
{
    DIR *d = opendir(INPUTS);
    int fd = -1;

    for (struct dirent *e; d && fd < 0 && (e = readdir(d)) != NULL;) {
        char path[320];
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, INPUTS "/%s", e->d_name);
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && !has_power_key(fd)) {
            (void)close(fd);
            fd = -1;
        }
    }
    if (d)
        (void)closedir(d);
    return fd;
}

bool prop_init_power_pressed(int fd)
{
    struct input_event e;
    bool pressed = false;

    while (read(fd, &e, sizeof e) == (ssize_t)sizeof e)
        pressed = pressed || (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1);
    return pressed;
}
