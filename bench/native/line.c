/* The conversation of one submitter and one worker with the scripts, in C, over three pipelined
 * connections of one process: what Redis and the scripts allow when the client costs nothing.
 *
 *   line PORT PREFIX IN_FLIGHT SECONDS ADMIT ATTACH CLAIM PUBLISH      (the last four are SHAs)
 *
 * Prints one line of JSON. Any reply that is not understood ends it with status 1.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 1 << 20, MOST = 4096, SAMPLES = 4000000 };

typedef struct {
  int fd;
  char in[ROOM];
  size_t have;
  char out[ROOM];
  size_t fill;
} Link;

typedef struct {
  char *at;
  size_t length;
} Text;

static Link admits, inbox, worker;
static const char *prefix, *sha_admit, *sha_attach, *sha_claim, *sha_publish;
static long in_flight, waiting_room, sent_tasks, done_tasks, admit_number, worker_number;
static int admit_busy; /* replies outstanding */
static char last_id[64] = "0", next_last_id[64];
static double started[MOST], *took;
static long free_slots[MOST];

static void die(const char *why) {
  fprintf(stderr, "line: %s\n", why);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void dial(Link *link, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  int on = 1;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  link->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&to, sizeof to) < 0) die("no server");
  setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* -- sending ------------------------------------------------------------------------------- */

static void head(Link *link, int count) {
  link->fill += (size_t)sprintf(link->out + link->fill, "*%d\r\n", count);
}

static void bytes(Link *link, const char *data, size_t length) {
  link->fill += (size_t)sprintf(link->out + link->fill, "$%zu\r\n", length);
  memcpy(link->out + link->fill, data, length);
  memcpy(link->out + link->fill + length, "\r\n", 2);
  link->fill += length + 2;
}

static void text(Link *link, const char *format, ...) {
  char word[256];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(word, sizeof word, format, values);
  va_end(values);
  bytes(link, word, (size_t)length);
}

static void script(Link *link, const char *sha, int arguments) {
  head(link, 4 + arguments);
  text(link, "EVALSHA");
  text(link, "%s", sha);
  text(link, "1");
  text(link, "%s", prefix);
}

static void flush(Link *link) {
  for (size_t sent = 0; sent < link->fill;) {
    ssize_t wrote = write(link->fd, link->out + sent, link->fill - sent);
    if (wrote <= 0) die("the server hung up");
    sent += (size_t)wrote;
  }
  link->fill = 0;
}

/* -- reading ------------------------------------------------------------------------------- */

/* The end of the whole reply that begins at `p`; NULL where it is not all there yet. */
static char *reply_end(char *p, char *end) {
  char *line = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
  if (line == NULL) return NULL;
  long count = strtol(p + 1, NULL, 10);
  switch (*p) {
    case '-':
      *line = 0;
      die(p);
      return NULL;
    case '$':
      if (count < 0) return line + 1;
      return end - line - 1 < count + 2 ? NULL : line + 1 + count + 2;
    case '*':
      for (p = line + 1; p != NULL && count > 0; count--) p = reply_end(p, end);
      return p;
    default:
      return line + 1;
  }
}

/* Next element: for a string its bytes, for an array its count, for a number its digits. */
static long next(char **p, Text *value) {
  char *line = memchr(*p, '\n', ROOM);
  long count = strtol(*p + 1, NULL, 10);
  if (**p == '$' && count >= 0) {
    value->at = line + 1;
    value->length = (size_t)count;
    *p = line + 1 + count + 2;
  } else {
    value->at = *p + 1;
    value->length = (size_t)(line - *p - 2);
    *p = line + 1;
  }
  return count;
}

/* -- the submitter -------------------------------------------------------------------------- */

/* On the link of the admits: none may come before it. */
static void attach(void) {
  script(&admits, sha_attach, 1);
  text(&admits, "s%d", getpid());
  admit_busy++;
  flush(&admits);
}

static void read_inbox(void) {
  head(&inbox, 8);
  text(&inbox, "XREAD");
  text(&inbox, "COUNT");
  text(&inbox, "4");
  text(&inbox, "BLOCK");
  text(&inbox, "1000");
  text(&inbox, "STREAMS");
  text(&inbox, "%sinbox:s%d", prefix, getpid());
  text(&inbox, "%s", last_id);
}

static void admit(const char *payload) {
  if (admit_busy || waiting_room == 0) return;
  int count = waiting_room < BATCH ? (int)waiting_room : BATCH;
  script(&admits, sha_admit, 6 + 9 + 3 * count);
  text(&admits, "s%d", getpid());
  text(&admits, "%ld", ++admit_number);
  text(&admits, "pull");
  text(&admits, "%s", last_id);
  text(&admits, "0");
  text(&admits, "1");
  const char *profile[] = {"3", "route-name-0", "", "600000", "30000", "0", "3", "0", ""};
  for (int i = 0; i < 9; i++) text(&admits, "%s", profile[i]);
  for (int i = 0; i < count; i++) {
    long slot = free_slots[--waiting_room];
    started[slot] = now();
    text(&admits, "1");
    text(&admits, "%06ld%016ld", slot, ++sent_tasks);
    bytes(&admits, payload, 200);
  }
  admit_busy++;
  flush(&admits);
}

static void on_admitted(char *p) {
  Text word;
  next(&p, &word);
  next(&p, &word);
  if (memcmp(word.at, "OK", 2) != 0) die("admit did not answer OK");
  admit_busy--;
}

static void on_inbox(char *p) {
  Text value;
  if (next(&p, &value) > 0) {
    next(&p, &value);
    next(&p, &value); /* the key */
    long entries = next(&p, &value);
    for (long i = 0; i < entries; i++) {
      next(&p, &value);
      next(&p, &value);
      memcpy(next_last_id, value.at, value.length);
      next_last_id[value.length] = 0;
      strcpy(last_id, next_last_id);
      long pairs = next(&p, &value) / 2;
      for (long k = 0; k < pairs; k++) {
        Text id;
        next(&p, &id);
        next(&p, &value);
        if (id.length != 22) continue;
        if (value.length < 5 || memcmp(value.at, "done\n", 5) != 0) die("a task was not done");
        long slot = strtol((char[]){id.at[0], id.at[1], id.at[2], id.at[3], id.at[4], id.at[5], 0},
                           NULL, 10);
        if (done_tasks < SAMPLES) took[done_tasks] = now() - started[slot];
        done_tasks++;
        free_slots[waiting_room++] = slot;
      }
    }
  }
  read_inbox();
  flush(&inbox);
}

/* -- the worker ------------------------------------------------------------------------------ */

static void claim(void) {
  script(&worker, sha_claim, 4);
  text(&worker, "w%d", getpid());
  text(&worker, "%ld", ++worker_number);
  text(&worker, "64");
  text(&worker, "9");
  flush(&worker);
}

static void wait_for_hint(void) {
  head(&worker, 4);
  text(&worker, "BLPOP");
  text(&worker, "%stold:w%d", prefix, getpid());
  text(&worker, "%swake:9", prefix);
  text(&worker, "1");
  flush(&worker);
}

static void on_worker(char *p) {
  static int asked = 0; /* 0: a claim, 1: a publish, 2: a hint */
  Text value;
  long top = next(&p, &value);
  if (asked == 2) {
    asked = 0;
    claim();
    return;
  }
  if (top != 4 + asked) die("claim or publish answered something else");
  for (int i = 0; i < 3; i++) next(&p, &value);
  if (asked == 1) {
    long words = next(&p, &value);
    for (long i = 0; i < words; i++) next(&p, &value);
  }
  long count = next(&p, &value) / 8;
  if (count == 0) {
    asked = 2;
    wait_for_hint();
    return;
  }
  script(&worker, sha_publish, (int)(4 + 4 * count));
  text(&worker, "w%d", getpid());
  text(&worker, "%ld", ++worker_number);
  text(&worker, "64");
  text(&worker, "9");
  for (long i = 0; i < count; i++) {
    Text task[8];
    for (int k = 0; k < 8; k++) next(&p, &task[k]);
    bytes(&worker, task[0].at, task[0].length);
    bytes(&worker, task[1].at, task[1].length);
    text(&worker, "done");
    bytes(&worker, task[7].at, task[7].length);
  }
  asked = 1;
  flush(&worker);
}

/* -- both ------------------------------------------------------------------------------------- */

static void take_in(Link *link, void (*heard)(char *)) {
  ssize_t got = read(link->fd, link->in + link->have, sizeof link->in - link->have);
  if (got <= 0) die("the server hung up");
  link->have += (size_t)got;
  char *p = link->in, *end = link->in + link->have, *stop;
  while ((stop = reply_end(p, end)) != NULL) {
    heard(p);
    p = stop;
  }
  link->have = (size_t)(end - p);
  memmove(link->in, p, link->have);
}

static int rising(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int count, char **args) {
  if (count != 9) die("expected PORT PREFIX IN_FLIGHT SECONDS ADMIT ATTACH CLAIM PUBLISH");
  int port = atoi(args[1]);
  prefix = args[2];
  in_flight = atol(args[3]);
  double seconds = atof(args[4]);
  sha_admit = args[5], sha_attach = args[6], sha_claim = args[7], sha_publish = args[8];
  if (in_flight < 1 || in_flight > MOST) die("IN_FLIGHT is 1 to 4096");
  took = malloc(sizeof *took * SAMPLES);
  for (long i = 0; i < in_flight; i++) free_slots[waiting_room++] = i;
  dial(&admits, port), dial(&inbox, port), dial(&worker, port);
  char payload[201];
  memset(payload, 'x', 200);
  attach(), read_inbox(), flush(&inbox);
  claim();
  double began = now(), refreshed = began, until = began + seconds;
  struct pollfd polls[3] = {
      {admits.fd, POLLIN, 0}, {inbox.fd, POLLIN, 0}, {worker.fd, POLLIN, 0}};
  while (now() < until) {
    admit(payload);
    if (poll(polls, 3, 100) < 0) die("poll failed");
    if (polls[0].revents) take_in(&admits, on_admitted);
    if (polls[1].revents) take_in(&inbox, on_inbox);
    if (polls[2].revents) take_in(&worker, on_worker);
    if (now() - refreshed > 4) {
      refreshed = now();
      attach();
    }
  }
  double wall = now() - began;
  long sampled = done_tasks < SAMPLES ? done_tasks : SAMPLES;
  qsort(took, (size_t)sampled, sizeof *took, rising);
  printf("{\"done\": %ld, \"rate\": %.1f, \"p50\": %.9f, \"p99\": %.9f}\n", done_tasks,
         (double)done_tasks / wall, sampled ? took[sampled / 2] : 0.0,
         sampled ? took[(long)((double)sampled * 0.99)] : 0.0);
  return 0;
}
