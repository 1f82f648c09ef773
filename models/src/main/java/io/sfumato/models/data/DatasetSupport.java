// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** Checks that several data sets share. */
final class DatasetSupport {
  /** The longest array that every JVM can allocate. */
  static final int MAX_ARRAY = Integer.MAX_VALUE - 8;

  private DatasetSupport() {}

  /** Returns {@code count * bytesEach} if a Java array can be that long. */
  static int arrayLength(int count, int bytesEach) {
    long length = (long) count * bytesEach;
    if (length > MAX_ARRAY) {
      throw new IllegalArgumentException(
          count
              + " images of "
              + bytesEach
              + " bytes do not fit in one Java array (at most "
              + MAX_ARRAY
              + " bytes); take fewer at a time");
    }
    return (int) length;
  }

  /** {@return a new SHA-256 digest} */
  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /** {@return a hash of the size and the pixels of a picture} */
  static String hash(Picture picture) {
    MessageDigest digest = sha256();
    digest.update(
        (picture.channels() + " " + picture.height() + " " + picture.width())
            .getBytes(StandardCharsets.US_ASCII));
    return HexFormat.of().formatHex(digest.digest(picture.pixels()));
  }

  /** Throws unless {@code size} is a side length in pixels that makes sense for an image. */
  static void checkSide(String name, int size) {
    if (size < 1 || size > 8192) {
      throw new IllegalArgumentException(name + " must be 1 to 8192 pixels; got " + size);
    }
  }

  /** {@return a byte count for people: {@code 512 B}, {@code 47.0 MiB}} */
  static String bytes(long count) {
    if (count < 1024) {
      return count + " B";
    }
    String[] units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = count;
    int unit = -1;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return Math.round(value * 10) / 10.0 + " " + units[unit];
  }
}
