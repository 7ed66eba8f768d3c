/* What may be tried again, when, and until when (registry.md 2.5): Retry-After in both its forms, else
 * a wait that doubles, with jitter so that many clients do not come back at once. */
#include "http/internal.h"

#include "util/stop.h"
#include "util/text.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>

#define BACKOFF_FIRST_MS 200u
#define BACKOFF_MAX_MS 5000u
#define RETRY_AFTER_MAX_MS 60000u
#define POLL_MS 1000u
#define POLL_CANCEL_MS 100u /* somebody else's failure is to be noticed soon */

bool prop_http_transient(int rc, const struct prop_http_answer *a, const struct prop_err *err)
{
    const char *id;

    if (rc == 0) {
        int s = a->status;

        return s == 408 || s == 429 || s == 500 || s == 502 || s == 503 || s == 504;
    }
    id = prop_err_id(err);
    return (rc == PROP_E_NETWORK && strcmp(id, "tls") != 0 && strcmp(id, "timeout") != 0 &&
            strcmp(id, "proxy") != 0) ||
           (rc == PROP_E_REMOTE && strcmp(id, "truncated") == 0);
}

bool prop_http_date_of(const struct prop_http_answer *a, time_t *ret)
{
    const char *text = prop_http_header(a, "date", 0);
    time_t t = text != NULL ? curl_getdate(text, NULL) : (time_t)-1;

    if (t == (time_t)-1)
        return false;
    *ret = t;
    return true;
}

static bool retry_after_ms(const struct prop_http_answer *a, uint64_t *ret)
{
    const char *text = prop_http_header(a, "retry-after", 0);
    uint64_t s;
    time_t when;

    if (text == NULL)
        return false;
    if (prop_parse_u64(text, "Retry-After", &s, NULL) != 0) {
        when = curl_getdate(text, NULL);
        if (when == (time_t)-1)
            return false;
        s = when > prop_wall_time() ? (uint64_t)(when - prop_wall_time()) : 0;
    }
    *ret = s < RETRY_AFTER_MAX_MS / 1000 ? s * 1000 : RETRY_AFTER_MAX_MS;
    return true;
}

static uint64_t backoff_ms(unsigned attempt)
{
    uint64_t base = BACKOFF_FIRST_MS;
    uint32_t random = 0;

    while (attempt-- > 0 && base < BACKOFF_MAX_MS)
        base *= 2;
    if (base > BACKOFF_MAX_MS)
        base = BACKOFF_MAX_MS;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        random = (uint32_t)prop_now_ms();
    return base - base / 4 + random % (base / 2 + 1); /* 75 % to 125 % */
}

int prop_http_may_go_on(const struct prop_http *h, struct prop_err *err)
{
    int rc = prop_stop_check(err);

    if (rc < 0)
        return rc;
    if (h->cancel != NULL && atomic_load(h->cancel))
        return prop_err_set_id(err, PROP_E_INTERRUPTED, "cancelled", "given up beside a failure");
    if (h->deadline_ms != 0 && prop_now_ms() >= h->deadline_ms)
        return prop_err_set_id(err, PROP_E_NETWORK, "timeout", "the time that was given is over");
    return 0;
}

int prop_http_poll_ms(const struct prop_http *h)
{
    uint64_t ms = h->cancel != NULL ? POLL_CANCEL_MS : POLL_MS, now;

    if (h->stall_timeout_ms < ms)
        ms = h->stall_timeout_ms;
    if (h->deadline_ms != 0) {
        now = prop_now_ms();
        if (now >= h->deadline_ms || h->deadline_ms - now < ms)
            ms = now >= h->deadline_ms ? 0 : h->deadline_ms - now;
    }
    return (int)ms;
}

int prop_http_wait(const struct prop_http *h, unsigned attempt, const struct prop_http_answer *a,
                   struct prop_err *err)
{
    uint64_t ms = backoff_ms(attempt), end, now;
    int rc = prop_http_may_go_on(h, err);

    if (a != NULL)
        (void)retry_after_ms(a, &ms);
    end = prop_now_ms() + ms;
    while (rc == 0 && (now = prop_now_ms()) < end) {
        uint64_t step = end - now < (uint64_t)prop_http_poll_ms(h) ? end - now
                                                                   : (uint64_t)prop_http_poll_ms(h);

        (void)poll(NULL, 0, (int)step); /* a signal cuts it short */
        rc = prop_http_may_go_on(h, err);
    }
    return rc;
}
