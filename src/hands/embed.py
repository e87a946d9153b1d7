#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py FILE NAME HEADER: writes HEADER with the bytes of FILE as `static const unsigned char NAME[]`."""
import sys

data = open(sys.argv[1], "rb").read()
with open(sys.argv[3], "w") as out:
    out.write("/* Generated. */\n#pragma once\n\nstatic const unsigned char %s[] = {\n" % sys.argv[2])
    for i in range(0, len(data), 16):
        out.write("\t" + ", ".join("0x%02x" % b for b in data[i : i + 16]) + ",\n")
    out.write("};\n")
