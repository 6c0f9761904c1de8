"""The operating system's own words (strerror) in Chinese: messages quote them as ``why``."""

import errno
import os
from collections.abc import Mapping
from functools import cache

_CHINESE = {
    errno.EPERM: "不允许此操作",
    errno.ENOENT: "没有该文件或文件夹",
    errno.EIO: "读写出错",
    errno.ENXIO: "没有该设备",
    errno.EACCES: "没有权限",
    errno.EBUSY: "设备正忙",
    errno.EEXIST: "文件已存在",
    errno.ENODEV: "没有该设备",
    errno.ENOTDIR: "不是文件夹",
    errno.EISDIR: "是文件夹",
    errno.EINVAL: "参数无效",
    errno.EFBIG: "文件过大",
    errno.ENOSPC: "磁盘已满",
    errno.EROFS: "文件系统只读",
    errno.EPIPE: "接收方已关闭",
    errno.ENAMETOOLONG: "文件名过长",
    errno.ELOOP: "符号链接循环",
    errno.ENOTEMPTY: "文件夹不为空",
    errno.EDQUOT: "超出磁盘配额",
    errno.ENETUNREACH: "网络不可达",
    errno.EHOSTUNREACH: "主机不可达",
    errno.ECONNREFUSED: "连接被拒绝",
    errno.ECONNRESET: "连接被对方断开",
    errno.ETIMEDOUT: "连接超时",
    errno.ENOMEDIUM: "没有盘片",
}


@cache
def system_words() -> Mapping[str, str]:
    """The system's text of an error to its Chinese."""
    return {os.strerror(code): chinese for code, chinese in _CHINESE.items()}
