// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads where the files of a tar archive lie, from its headers alone: those of POSIX (ustar and
 * pax), of GNU tar (long names, sizes in base 256), and older ones.
 *
 * <p>Archives may come from anywhere. Every number is checked against the length of the archive
 * before it is used; names must be plain relative paths; what is not known, sparse, compressed, cut
 * off or hidden behind the end is refused, so that no file is left out unseen. Folders and devices
 * hold no data; links neither, which a log line tells.
 *
 * <p>Source: POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format".
 */
final class TarIndex {
  private static final Logger LOG = System.getLogger(TarIndex.class.getName());
  private static final int BLOCK = 512;
  private static final int MAX_EXTENSION = 1 << 20;

  private final Path archive;
  private final FileChannel channel;
  private final long length;
  private final List<Entry> entries = new ArrayList<>();
  private Map<String, String> pax = new HashMap<>();
  private @Nullable String longName;
  private int links;
  private String firstLink = "";

  /**
   * A file in the archive.
   *
   * @param name its name, with slashes
   * @param header where its header begins
   * @param begin where its bytes begin
   * @param size how many there are
   */
  record Entry(String name, long header, long begin, long size) {}

  private TarIndex(Path archive, FileChannel channel) throws IOException {
    this.archive = archive;
    this.channel = channel;
    this.length = channel.size();
  }

  /**
   * {@return the files of an archive, in their order}
   *
   * @param archive for messages
   * @param channel its bytes
   * @throws DatasetException if it is not a valid archive; the message says where
   */
  static List<Entry> of(Path archive, FileChannel channel) throws IOException {
    TarIndex index = new TarIndex(archive, channel);
    index.readAll();
    if (index.links > 0) {
      LOG.log(
          Level.WARNING,
          "{0}: {1} links are left out, first {2}; pack the files themselves (tar --dereference"
              + " --hard-dereference)",
          archive,
          index.links,
          quoted(index.firstLink));
    }
    return index.entries;
  }

  private DatasetException wrong(long at, String expected, String got) {
    return DatasetException.at(archive, at, expected, got);
  }

  private void readAll() throws IOException {
    long at = 0;
    while (true) {
      if (length - at < BLOCK) {
        throw wrong(
            at,
            "a header or the zeros that end a tar archive",
            (length - at <= 0 ? "the end" : length - at + " bytes") + "; the archive is cut off");
      }
      byte[] block = bytes(at, BLOCK);
      if (isZero(block, BLOCK)) {
        requireNothingFrom(at);
        return;
      }
      at = next(at, block);
    }
  }

  /** Takes the entry at a place, and returns where the next one is. */
  private long next(long at, byte[] block) throws IOException {
    requireChecksum(at, block);
    char type = (char) (block[156] & 0xFF);
    boolean extension = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    long size = number(at, block, 124, 12);
    if (!extension && pax.containsKey("size")) {
      size = decimal(at, pax.getOrDefault("size", ""));
    }
    if (type >= '1' && type <= '6') {
      size = 0; // links, devices and folders
    }
    long begin = at + BLOCK;
    if (size > length - begin) {
      throw wrong(
          at,
          "an entry within the archive of " + length + " bytes",
          "one of " + size + " bytes from byte " + begin + " on");
    }
    if (extension) {
      extend(type, at, begin, size);
    } else {
      add(type, at, block, begin, size);
      pax = new HashMap<>();
      longName = null;
    }
    return begin + (size + BLOCK - 1) / BLOCK * BLOCK;
  }

  private void add(char type, long at, byte[] block, long begin, long size) {
    String name = longName == null ? ownName(at, block) : longName;
    name = pax.getOrDefault("path", name);
    if (type == 'S' || pax.keySet().stream().anyMatch(k -> k.startsWith("GNU.sparse"))) {
      throw wrong(at, "a file that is stored as it is", "a sparse one, " + quoted(name));
    }
    if (type == '1' || type == '2') {
      firstLink = links++ == 0 ? name : firstLink;
    }
    if (type >= '1' && type <= '6' || type == '\0' && name.endsWith("/")) {
      return;
    }
    if (type != '0' && type != '\0' && type != '7') {
      throw wrong(at, "a file, folder or link", "an entry of type '" + quoted("" + type) + "'");
    }
    entries.add(new Entry(plain(at, name), at, begin, size));
  }

  // ---- headers

  private void requireChecksum(long at, byte[] block) {
    int unsigned = 0;
    int signed = 0; // as some old programs have it
    for (int i = 0; i < BLOCK; i++) {
      byte b = i >= 148 && i < 156 ? (byte) ' ' : block[i];
      unsigned += b & 0xFF;
      signed += b;
    }
    long said;
    try {
      said = number(at, block, 148, 8);
    } catch (DatasetException e) {
      said = -1;
    }
    if (said != unsigned && said != signed) {
      throw wrong(
          at, "a tar header", at == 0 ? known(block) : "other bytes: the checksum is wrong");
    }
  }

  /** What a file is that is no archive. */
  private static String known(byte[] start) {
    int first = ByteBuffer.wrap(start).getInt();
    boolean packed =
        first >>> 16 == 0x1F8B // gzip
            || first == 0x28B52FFD // zstd
            || first >>> 8 == 0x425A68 // bzip2
            || first == 0xFD377A58; // xz
    return packed ? "a compressed file; unpack it into a plain .tar" : "no tar archive";
  }

  private String ownName(long at, byte[] block) {
    String name = text(at, block, 0, 100);
    boolean posix = new String(block, 257, 6, StandardCharsets.ISO_8859_1).equals("ustar\0");
    String prefix = posix ? text(at, block, 345, 155) : "";
    return prefix.isEmpty() ? name : prefix + "/" + name;
  }

  /** The name as a plain relative path; hostile ones are refused, though nothing is unpacked. */
  private String plain(long at, String name) {
    String plain = name;
    while (plain.startsWith("./")) {
      plain = plain.substring(2);
    }
    boolean bad =
        !isPath(plain)
            || plain.isEmpty()
            || plain.startsWith("/")
            || plain.endsWith("/")
            || plain.contains("\\")
            || plain.chars().anyMatch(Character::isISOControl)
            || Arrays.asList(plain.split("/", -1)).contains("..");
    if (bad) {
      throw wrong(at, "the name of a file as a relative path", quoted(name));
    }
    return plain;
  }

  /** Whether a name can follow the archive's in messages. */
  private boolean isPath(String name) {
    try {
      return archive.resolve(name).getNameCount() > 0;
    } catch (InvalidPathException e) {
      return false;
    }
  }

  private static String quoted(String name) {
    String shown = name.length() > 100 ? name.substring(0, 100) + "…" : name;
    return "\"" + shown.replaceAll("\\p{Cntrl}", "?") + "\"";
  }

  private String text(long at, byte[] block, int from, int most) {
    int to = from;
    while (to < from + most && block[to] != 0) {
      to++;
    }
    return decoded(at, block, from, to - from);
  }

  private String decoded(long at, byte[] bytes, int from, int count) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(bytes, from, count))
          .toString();
    } catch (CharacterCodingException e) {
      throw wrong(
          at, "text in UTF-8", quoted(new String(bytes, from, count, StandardCharsets.ISO_8859_1)));
    }
  }

  /** An octal number or, with the highest bit set, one in base 256. */
  private long number(long at, byte[] block, int from, int count) {
    long value = 0;
    if ((block[from] & 0x80) != 0) {
      for (int i = from; i < from + count; i++) {
        int digit = i == from ? block[i] & 0x7F : block[i] & 0xFF;
        if (value > Long.MAX_VALUE >> 8) {
          throw wrong(at, "a size of an entry", "one beyond 2^63 or below 0");
        }
        value = value << 8 | digit;
      }
      return value;
    }
    String digits = new String(block, from, count, StandardCharsets.ISO_8859_1);
    int end = digits.indexOf('\0');
    digits = (end < 0 ? digits : digits.substring(0, end)).strip();
    try {
      value = digits.isEmpty() ? 0 : Long.parseLong(digits, 8);
    } catch (NumberFormatException e) {
      value = -1;
    }
    if (value < 0) {
      throw wrong(at, "an octal number", quoted(digits));
    }
    return value;
  }

  private long decimal(long at, String digits) {
    try {
      if (digits.matches("\\d+")) {
        return Long.parseLong(digits);
      }
    } catch (NumberFormatException e) {
      // too large: as below
    }
    throw wrong(at, "the size of a file", quoted(digits));
  }

  // ---- what stands before an entry

  private void extend(char type, long at, long begin, long size) throws IOException {
    if (size > MAX_EXTENSION) {
      throw wrong(at, "a name or properties of at most " + MAX_EXTENSION + " bytes", size + "");
    }
    byte[] content = bytes(begin, (int) size);
    switch (type) {
      case 'x' -> pax.putAll(records(begin, content));
      case 'g' -> {
        Map<String, String> all = records(begin, content);
        if (all.containsKey("path") || all.containsKey("size")) {
          throw wrong(at, "names and sizes of single files", "one for all");
        }
      }
      case 'L' -> longName = text(begin, content, 0, content.length);
      default -> {} // the target of a link
    }
  }

  /** Records {@code "LENGTH KEY=VALUE\n"}. */
  private Map<String, String> records(long begin, byte[] content) {
    Map<String, String> records = new HashMap<>();
    int from = 0;
    while (from < content.length) {
      int space = from;
      while (space < content.length && space < from + 8 && content[space] != ' ') {
        space++;
      }
      long count = decimal(begin + from, decoded(begin + from, content, from, space - from));
      long end = from + count;
      if (end > content.length || end < space + 2 || content[(int) end - 1] != '\n') {
        throw wrong(begin + from, "a record that ends where it says", "a length of " + count);
      }
      String record = decoded(begin + from, content, space + 1, (int) end - space - 2);
      int equals = record.indexOf('=');
      if (equals < 1) {
        throw wrong(begin + from, "a record KEY=VALUE", quoted(record));
      }
      records.put(record.substring(0, equals), record.substring(equals + 1));
      from = (int) end;
    }
    return records;
  }

  // ---- bytes

  /** What stands behind the end would be left out. */
  private void requireNothingFrom(long end) throws IOException {
    int step = 1 << 16;
    for (long at = end; at < length; at += step) {
      int count = (int) Math.min(step, length - at);
      if (!isZero(bytes(at, count), count)) {
        throw wrong(
            end, "nothing behind the end of the archive", "more bytes; are several joined?");
      }
    }
  }

  private static boolean isZero(byte[] bytes, int count) {
    for (int i = 0; i < count; i++) {
      if (bytes[i] != 0) {
        return false;
      }
    }
    return true;
  }

  private byte[] bytes(long from, int count) throws IOException {
    return bytes(archive, channel, from, count);
  }

  /** {@return a part of an archive} */
  static byte[] bytes(Path archive, FileChannel channel, long from, int count) throws IOException {
    ByteBuffer into = ByteBuffer.allocate(count);
    while (into.hasRemaining()) {
      if (channel.read(into, from + into.position()) < 0) {
        throw DatasetException.of(archive, "has become shorter while it was read");
      }
    }
    return into.array();
  }
}
