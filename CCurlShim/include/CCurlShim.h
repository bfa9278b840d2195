// What Swift cannot say to libcurl: its variadic calls, one typed function for each type of
// argument. Everything with a decision in it is Swift.
#pragma once
// curl's own argument checks are macros round the variadic calls and know only constant options.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
// Not in Swift's Glibc module.
#include <sys/epoll.h>
#include <sys/eventfd.h>

typedef size_t (*millrace_data_callback)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode millrace_global_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

static inline CURLcode millrace_easy_set_long(CURL *easy, CURLoption option, long value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode millrace_easy_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
  return curl_easy_setopt(easy, option, value);
}

// Strings are copied by libcurl; other pointers are kept.
static inline CURLcode millrace_easy_set_pointer(CURL *easy, CURLoption option, const void *value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode millrace_easy_set_callback(
    CURL *easy, CURLoption option, millrace_data_callback callback) {
  return curl_easy_setopt(easy, option, callback);
}

static inline CURLcode millrace_easy_set_opensocket(
    CURL *easy, curl_opensocket_callback callback, void *context) {
  CURLcode code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, callback);
  return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, context);
}

static inline CURLcode millrace_easy_get_long(CURL *easy, CURLINFO info, long *value) {
  return curl_easy_getinfo(easy, info, value);
}

static inline CURLcode millrace_easy_get_offset(CURL *easy, CURLINFO info, curl_off_t *value) {
  return curl_easy_getinfo(easy, info, value);
}

static inline CURLcode millrace_easy_get_private(CURL *easy, void **value) {
  return curl_easy_getinfo(easy, CURLINFO_PRIVATE, value);
}

static inline CURLMcode millrace_multi_set_long(CURLM *multi, CURLMoption option, long value) {
  return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode millrace_multi_set_callbacks(
    CURLM *multi, curl_socket_callback socket_changed, curl_multi_timer_callback timer_changed,
    void *context) {
  CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_changed);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
  return code;
}

static inline CURLSHcode millrace_share(CURLSH *share, curl_lock_data what) {
  return curl_share_setopt(share, CURLSHOPT_SHARE, what);
}
