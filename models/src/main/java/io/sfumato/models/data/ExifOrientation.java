// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import javax.imageio.stream.ImageInputStream;

/**
 * The Exif orientation of a JPEG file: how the stored picture must be turned to stand upright.
 *
 * <p>Source: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.4, tag 274.
 */
final class ExifOrientation {
  private static final int TAG = 0x0112;
  private static final int MAX_SEGMENTS = 1000;

  private ExifOrientation() {}

  /**
   * {@return 1 to 8; 1 (upright) if the stream is no JPEG or says nothing usable} Leaves the stream
   * position at 0.
   */
  static int of(ImageInputStream in) throws IOException {
    try {
      in.seek(0);
      if (in.read() != 0xFF || in.read() != 0xD8) {
        return 1;
      }
      for (int i = 0; i < MAX_SEGMENTS; i++) {
        int mark = in.read();
        int type = in.read();
        while (type == 0xFF) {
          type = in.read();
        }
        int length = in.read() << 8 | in.read();
        // Metadata comes before the first scan (0xDA).
        if (mark != 0xFF || type < 0 || type == 0xDA || type == 0xD9 || length < 2) {
          return 1;
        }
        long next = in.getStreamPosition() + length - 2;
        if (type == 0xE1) {
          byte[] segment = new byte[length - 2];
          int got = 0;
          while (got < segment.length) {
            int n = in.read(segment, got, segment.length - got);
            if (n < 0) {
              return 1;
            }
            got += n;
          }
          int orientation = ofApp1(segment);
          if (orientation > 0) {
            return orientation;
          }
        }
        in.seek(next);
      }
      return 1;
    } finally {
      in.seek(0);
    }
  }

  /** {@return the orientation in an APP1 segment, or 0} */
  private static int ofApp1(byte[] s) {
    if (s.length < 14 || s[0] != 'E' || s[1] != 'x' || s[2] != 'i' || s[3] != 'f' || s[4] != 0) {
      return 0;
    }
    int tiff = 6;
    boolean little = s[tiff] == 'I';
    long directory = tiff + unsigned(s, tiff + 4, 4, little);
    if (directory + 2 > s.length) {
      return 0;
    }
    long entries = unsigned(s, (int) directory, 2, little);
    for (int i = 0; i < entries; i++) {
      long entry = directory + 2 + 12L * i;
      if (entry + 12 > s.length) {
        return 0;
      }
      if (unsigned(s, (int) entry, 2, little) == TAG) {
        long value = unsigned(s, (int) entry + 8, 2, little);
        return value >= 1 && value <= 8 ? (int) value : 0;
      }
    }
    return 0;
  }

  private static long unsigned(byte[] s, int at, int count, boolean little) {
    long value = 0;
    for (int i = 0; i < count; i++) {
      long b = s[at + i] & 0xFF;
      value |= b << 8 * (little ? i : count - 1 - i);
    }
    return value;
  }

  /** {@return whether upright pictures are as wide as stored ones are high} */
  static boolean turnsSides(int orientation) {
    return orientation >= 5;
  }

  /** Turns a picture upright. */
  static Picture apply(int orientation, Picture stored) {
    if (orientation == 1) {
      return stored;
    }
    boolean turned = turnsSides(orientation);
    int height = turned ? stored.width() : stored.height();
    int width = turned ? stored.height() : stored.width();
    int right = stored.width() - 1;
    int bottom = stored.height() - 1;
    byte[] pixels = stored.pixels();
    byte[] upright = new byte[pixels.length];
    int plane = height * width;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        // Where the upright pixel (x, y) is stored.
        int row = turned ? x : y;
        int column = turned ? y : x;
        switch (orientation) {
          case 2 -> column = right - x;
          case 3 -> {
            row = bottom - y;
            column = right - x;
          }
          case 4 -> row = bottom - y;
          case 5 -> {}
          case 6 -> row = bottom - x;
          case 7 -> {
            row = bottom - x;
            column = right - y;
          }
          case 8 -> column = right - y;
          default -> throw new IllegalArgumentException("orientation 1 to 8; " + orientation);
        }
        for (int c = 0; c < stored.channels(); c++) {
          upright[c * plane + y * width + x] = pixels[c * plane + row * stored.width() + column];
        }
      }
    }
    return new Picture(upright, stored.channels(), height, width);
  }
}
