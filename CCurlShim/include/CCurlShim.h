// What Swift cannot say to libcurl: its variadic calls. Everything with a decision in it is Swift.
#pragma once
#include <curl/curl.h>
