// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Writes tar archives, valid or not. */
public final class TarBytes {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** A file. */
  public TarBytes file(String name, byte[] content) {
    return entry(name, '0', content);
  }

  /** A file of text. */
  public TarBytes file(String name, String text) {
    return file(name, text.getBytes(StandardCharsets.UTF_8));
  }

  /** An entry of any type. */
  public TarBytes entry(String name, char type, byte[] content) {
    return raw(header(name.getBytes(StandardCharsets.UTF_8), type, content.length)).data(content);
  }

  /** Bytes, filled up to a block. */
  public TarBytes data(byte[] content) {
    return raw(Arrays.copyOf(content, (content.length + 511) / 512 * 512));
  }

  /** Bytes as they are. */
  public TarBytes raw(byte[] bytes) {
    out.writeBytes(bytes);
    return this;
  }

  /** A header with its checksum. */
  static byte[] header(byte[] name, char type, long size) {
    byte[] block = new byte[512];
    System.arraycopy(name, 0, block, 0, Math.min(100, name.length));
    put(block, 100, "0000644");
    put(block, 124, String.format("%011o", size));
    put(block, 136, "00000000000");
    block[156] = (byte) type;
    put(block, 257, "ustar");
    put(block, 263, "00");
    return summed(block);
  }

  /** A header whose checksum is right again. */
  static byte[] summed(byte[] block) {
    Arrays.fill(block, 148, 156, (byte) ' ');
    int sum = 0;
    for (byte b : block) {
      sum += b & 0xFF;
    }
    put(block, 148, String.format("%06o", sum));
    block[154] = 0;
    return block;
  }

  static void put(byte[] block, int at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    System.arraycopy(bytes, 0, block, at, bytes.length);
  }

  /** What was put in so far. */
  byte[] open() {
    return out.toByteArray();
  }

  /** The archive with its end. */
  byte[] closed() {
    byte[] all = out.toByteArray();
    return Arrays.copyOf(all, all.length + 1024);
  }

  /** Writes the archive. */
  public Path write(Path file) {
    try {
      return Files.write(file, closed());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
