/* call.c - one HTTP call by libcurl. Answers are bounded, and redirects are not followed: the server
 * sends none. */
#include "ctl_int.h"

#include <curl/curl.h>
#include <string.h>

enum { ANSWER_MAX = 512 << 20, CONNECT_S = 5, SHOWN_MAX = 300, URL_MAX_LEN = 4096 };

static size_t on_bytes(char *bytes, size_t one, size_t n, void *user)
{
    struct rcd_buf *b = user;
    return rcd_buf_append(b, bytes, one * n) == RCD_OK ? one * n : 0;
}

bool rcd__call_path(char *out, size_t cap, const char *before, const char *name, const char *rest)
{
    char *escaped = curl_easy_escape(NULL, name, (int)strlen(name));
    int n = escaped != NULL ? snprintf(out, cap, "%s%s%s", before, escaped, rest) : -1;
    curl_free(escaped);
    return n >= 0 && (size_t)n < cap;
}

void rcd__reply_done(struct ctl_reply *r)
{
    rcd_buf_done(&r->body);
}

/* The server as libcurl wants it: unix:/path is a socket and any host name. */
static bool set_address(CURL *curl, const char *server, const char *path)
{
    char url[URL_MAX_LEN];
    const char *base = server;
    size_t n = strlen(server);
    if (strncmp(server, "unix:", 5) == 0) {
        if (curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, server + 5) != CURLE_OK)
            return false;
        base = "http://localhost";
        n = strlen(base);
    }
    while (n > 0 && base[n - 1] == '/')
        n--;
    int len = snprintf(url, sizeof url, "%s%.*s%s", strstr(base, "://") == NULL ? "http://" : "",
                       (int)n, base, path);
    return len > 0 && (size_t)len < sizeof url &&
           curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
}

static CURLcode perform(CURL *curl, const struct ctl_args *args, const char *body, size_t body_len,
                        struct ctl_reply *ret, char *text)
{
    struct curl_slist *headers = NULL;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)args->timeout_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret->body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "recurctl/" RCD_VERSION);
    if (body != NULL) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        headers = headers != NULL ? curl_slist_append(headers, "Expect:") : NULL;
        char length[64];
        snprintf(length, sizeof length, "Inference-Header-Content-Length: %zu", args->json_len);
        if (args->json_len > 0 && headers != NULL)
            headers = curl_slist_append(headers, length);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len);
    }
    if (args->method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, args->method);
    CURLcode rc = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    return rc;
}

int rcd__call(const struct ctl_args *args, const char *path, const char *body, size_t body_len,
              struct ctl_reply *ret)
{
    char text[CURL_ERROR_SIZE] = "";
    int status = CTL_OK;
    rcd_buf_init(&ret->body, ANSWER_MAX);
    ret->status = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return rcd__complain(CTL_REFUSED, "libcurl cannot start");
    if (!set_address(curl, args->server, path)) {
        status = rcd__complain(CTL_USAGE, "'%s' is no server address", args->server);
    } else {
        CURLcode rc = perform(curl, args, body, body_len, ret, text);
        if (ret->body.failed)
            status = rcd__complain(CTL_REFUSED, "%s: the answer is too large", args->server);
        else if (rc != CURLE_OK)
            status = rcd__complain(CTL_REFUSED, "%s: %s", args->server,
                                   text[0] != '\0' ? text : curl_easy_strerror(rc));
        else
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    }
    curl_easy_cleanup(curl);
    return status;
}

/* The server's words: its error object, else the beginning of whatever it sent. */
static int complain_of(const struct ctl_reply *r, const json_t *body)
{
    char shown[SHOWN_MAX];
    const char *text = json_string_value(json_object_get(body, "error"));
    if (text != NULL)
        rcd_quote(shown, sizeof shown, text, strlen(text));
    else
        rcd_quote(shown, sizeof shown, r->body.len > 0 ? r->body.data : "", r->body.len);
    return rcd__complain(CTL_REFUSED, "the server answers %ld%s%s", r->status,
                         shown[0] != '\0' ? ": " : "", shown);
}

int rcd__call_json(const struct ctl_args *args, const char *path, const char *body, size_t body_len,
                   json_t **ret_json)
{
    struct ctl_reply r;
    json_t *json = NULL;
    int status = rcd__call(args, path, body, body_len, &r);
    if (status == CTL_OK) {
        json = json_loadb(r.body.data, r.body.len, JSON_DECODE_ANY, NULL);
        if (r.status < 200 || r.status > 299)
            status = complain_of(&r, json);
        else if (r.body.len > 0 && json == NULL)
            status = rcd__complain(CTL_REFUSED, "%s does not answer in JSON", args->server);
        else if (args->json && r.body.len > 0)
            printf("%.*s\n", (int)r.body.len, r.body.data);
    }
    rcd__reply_done(&r);
    if (ret_json != NULL && status == CTL_OK)
        *ret_json = json;
    else
        json_decref(json);
    return status;
}
