/* SPDX-License-Identifier: MIT */
/* For static analysis, which sees one source file at a time: what functions of other files always return. */
#include "err.h"

#define px_err_set(...) (px_err_set(__VA_ARGS__), -1)
#define px_err_set_errno(...) (px_err_set_errno(__VA_ARGS__), -1)
#define px_err_prefix(...) (px_err_prefix(__VA_ARGS__), -1)
