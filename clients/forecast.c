/* forecast.c - asks a running recurd for a sunspot forecast: one POST with libcurl, JSON with jansson.
 *
 *   cc forecast.c -o forecast -lcurl -ljansson
 *   ./forecast [http://127.0.0.1:8000] [month month ...]
 */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    char *text;
    size_t len;
};

static size_t on_bytes(char *bytes, size_t one, size_t n, void *user)
{
    struct answer *a = user;
    char *grown = realloc(a->text, a->len + one * n + 1);
    if (grown == NULL)
        return 0; /* ends the transfer with an error */
    a->text = grown;
    memcpy(a->text + a->len, bytes, one * n);
    a->len += one * n;
    a->text[a->len] = '\0';
    return one * n;
}

/* {"inputs": [{"name": "series", "datatype": "FP32", "shape": [1, n, 1], "data": [...]}]}: one series of
 * n months, one number each. */
static char *request_text(const double *months, size_t n)
{
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, json_real(months[i]));
    json_t *request = json_pack("{s:[{s:s, s:s, s:[i,I,i], s:o}]}", "inputs", "name", "series",
                                "datatype", "FP32", "shape", 1, (json_int_t)n, 1, "data", data);
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

/* 0, or -1 after a message. */
static int print_forecast(const struct answer *a, long http_status)
{
    json_error_t bad;
    int result = -1;
    json_t *json = a->text != NULL ? json_loadb(a->text, a->len, 0, &bad) : NULL;
    const json_t *output = json_array_get(json_object_get(json, "outputs"), 0);
    const json_t *data = json_object_get(output, "data"), *value;
    const char *error = json_string_value(json_object_get(json, "error"));
    if (http_status != 200) {
        fprintf(stderr, "the server answers %ld: %s\n", http_status, error != NULL ? error : "?");
    } else if (!json_is_array(data)) {
        fprintf(stderr, "the answer holds no data\n");
    } else {
        size_t i;
        json_array_foreach(data, i, value)
        {
            printf("month %zu: %.1f\n", i + 1, json_number_value(value));
        }
        result = 0;
    }
    json_decref(json);
    return result;
}

static int ask(CURL *curl, const char *server, const char *request)
{
    char url[512];
    struct answer a = {.text = NULL};
    long http_status = 0;
    int result = -1;
    int n = snprintf(url, sizeof url, "%s/v2/models/sunspots/infer", server);
    if (n < 0 || (size_t)n >= sizeof url) {
        fprintf(stderr, "the server's address is too long\n");
        return -1;
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    CURLcode rc = curl_easy_perform(curl);
    if (rc != CURLE_OK) {
        fprintf(stderr, "%s: %s\n", url, curl_easy_strerror(rc));
    } else {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_status);
        result = print_forecast(&a, http_status);
    }
    curl_slist_free_all(headers);
    free(a.text);
    return result;
}

int main(int argc, char **argv)
{
    static const double two_years[] = {114,   141.3, 135.5, 156.4, 127.5, 90,    143.8, 158.7,
                                       167.3, 162.4, 137.5, 150.1, 111.2, 163.6, 153.8, 122,
                                       82.2,  110.4, 106.1, 107.6, 118.8, 94.7,  98.1,  127};
    const char *server = argc > 1 ? argv[1] : "http://127.0.0.1:8000";
    size_t n = argc > 2 ? (size_t)argc - 2 : sizeof two_years / sizeof two_years[0];
    double *months = malloc(n * sizeof *months);
    if (months == NULL)
        return EXIT_FAILURE;
    for (size_t i = 0; i < n; i++)
        months[i] = argc > 2 ? strtod(argv[i + 2], NULL) : two_years[i];
    char *request = request_text(months, n);
    free(months);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *curl = curl_easy_init(); /* keep it for more calls: they share the connection */
    int result = curl != NULL && request != NULL ? ask(curl, server, request) : -1;
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    free(request);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
