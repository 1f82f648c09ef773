// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The header of a safetensors file, checked: entries fill the byte buffer without holes or
 * overlaps, sizes agree with shapes, and the file has exactly the promised length. The rules, and
 * the order of element types, are those of the reference implementation (huggingface/safetensors,
 * tensor.rs).
 *
 * @param entries by name, in file order
 * @param metadata the {@code __metadata__} strings
 * @param dataStart offset of the byte buffer in the file
 */
record SafeTensorsHeader(
    Map<String, TensorEntry> entries, Map<String, String> metadata, long dataStart) {
  /** The reference's limit on the header's length. */
  static final long MAX_LENGTH = 100_000_000;

  /** Element types and their sizes in bits, in the reference's order. */
  static final Map<String, Integer> BITS = bits();

  private static Map<String, Integer> bits() {
    Map<String, Integer> bits = new LinkedHashMap<>();
    Object[] table = {
      "BOOL",
      8,
      "F4",
      4,
      "F6_E2M3",
      6,
      "F6_E3M2",
      6,
      "U8",
      8,
      "I8",
      8,
      "F8_E5M2",
      8,
      "F8_E4M3",
      8,
      "F8_E8M0",
      8,
      "F8_E4M3FNUZ",
      8,
      "F8_E5M2FNUZ",
      8,
      "I16",
      16,
      "U16",
      16,
      "F16",
      16,
      "BF16",
      16,
      "I32",
      32,
      "U32",
      32,
      "F32",
      32,
      "C64",
      64,
      "F64",
      64,
      "I64",
      64,
      "U64",
      64
    };
    for (int i = 0; i < table.length; i += 2) {
      bits.put((String) table[i], (Integer) table[i + 1]);
    }
    return bits;
  }

  /**
   * Parses and checks a header.
   *
   * @param file named in messages
   * @param json the header's bytes
   * @param fileLength the length of the whole file
   * @throws TensorFileException if a rule is broken
   */
  static SafeTensorsHeader parse(Path file, byte[] json, long fileLength) {
    String text;
    try {
      text =
          StandardCharsets.UTF_8
              .newDecoder()
              .onMalformedInput(CodingErrorAction.REPORT)
              .onUnmappableCharacter(CodingErrorAction.REPORT)
              .decode(ByteBuffer.wrap(json))
              .toString();
    } catch (CharacterCodingException e) {
      throw new TensorFileException(file, "header is not UTF-8", e);
    }
    Map<String, Object> object;
    try {
      object = HeaderJson.parseObject(text);
    } catch (HeaderJson.Malformed e) {
      throw new TensorFileException(file, "header is not valid: " + e.getMessage(), e);
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    List<TensorEntry> entries = new ArrayList<>();
    object.forEach(
        (name, value) -> {
          if (name.equals("__metadata__")) {
            readMetadata(file, value, metadata);
          } else {
            entries.add(readEntry(file, name, value));
          }
        });
    return checked(file, entries, metadata, 8L + json.length, fileLength);
  }

  private static void readMetadata(Path file, Object value, Map<String, String> metadata) {
    if (value == HeaderJson.NULL) {
      return;
    }
    if (!(value instanceof Map<?, ?> map)) {
      throw new TensorFileException(file, "__metadata__ must be an object of strings");
    }
    map.forEach(
        (k, v) -> {
          if (!(v instanceof String s)) {
            throw new TensorFileException(file, "__metadata__ value of \"" + k + "\" is no string");
          }
          metadata.put((String) k, s);
        });
  }

  private static TensorEntry readEntry(Path file, String name, Object value) {
    Object type = null;
    Object shape = null;
    Object offsets = null;
    if (value instanceof Map<?, ?> map) {
      type = map.get("dtype");
      shape = map.get("shape");
      offsets = map.get("data_offsets");
    } else if (value instanceof List<?> list && list.size() == 3) {
      type = list.get(0);
      shape = list.get(1);
      offsets = list.get(2);
    }
    if (!(type instanceof String t) || !BITS.containsKey(t)) {
      throw new TensorFileException(
          file, "tensor \"" + name + "\": unknown or missing dtype " + type);
    }
    List<Long> dims = integers(file, name, "shape", shape);
    List<Long> range = integers(file, name, "data_offsets", offsets);
    if (range.size() != 2) {
      throw new TensorFileException(
          file, "tensor \"" + name + "\": data_offsets must be two numbers");
    }
    return new TensorEntry(name, t, dims, range.get(0), range.get(1));
  }

  private static List<Long> integers(Path file, String name, String field, @Nullable Object value) {
    if (!(value instanceof List<?> list)) {
      throw new TensorFileException(
          file, "tensor \"" + name + "\": " + field + " must be a list of integers");
    }
    List<Long> result = new ArrayList<>();
    for (Object o : list) {
      if (!(o instanceof BigInteger n) || n.bitLength() > 63) {
        throw new TensorFileException(
            file, "tensor \"" + name + "\": " + field + " holds " + o + ", not a usable integer");
      }
      result.add(n.longValue());
    }
    return List.copyOf(result);
  }

  private static SafeTensorsHeader checked(
      Path file,
      List<TensorEntry> entries,
      Map<String, String> metadata,
      long dataStart,
      long fileLength) {
    entries.sort(Comparator.comparingLong(TensorEntry::begin).thenComparingLong(TensorEntry::end));
    Map<String, TensorEntry> byName = new LinkedHashMap<>();
    long position = 0;
    for (TensorEntry e : entries) {
      if (e.begin() != position || e.end() < e.begin()) {
        throw new TensorFileException(
            file,
            "tensor \""
                + e.name()
                + "\": data_offsets ["
                + e.begin()
                + ", "
                + e.end()
                + ") leave a hole or overlap; the next free byte is "
                + position);
      }
      long promised = bytes(file, e);
      if (promised != e.bytes()) {
        throw new TensorFileException(
            file,
            "tensor \""
                + e.name()
                + "\": "
                + e.dims()
                + " "
                + e.type()
                + " needs "
                + promised
                + " bytes, but data_offsets span "
                + e.bytes());
      }
      position = e.end();
      byName.put(e.name(), e);
    }
    if (dataStart + position != fileLength) {
      throw new TensorFileException(
          file,
          "the header promises "
              + (dataStart + position)
              + " bytes, but the file has "
              + fileLength
              + (fileLength < dataStart + position ? " (truncated)" : ""));
    }
    return new SafeTensorsHeader(byName, metadata, dataStart);
  }

  private static long bytes(Path file, TensorEntry e) {
    try {
      long bits = 1;
      for (long d : e.dims()) {
        bits = Math.multiplyExact(bits, d);
      }
      bits = Math.multiplyExact(bits, (long) BITS.getOrDefault(e.type(), 0));
      if (bits % 8 != 0) {
        throw new TensorFileException(
            file, "tensor \"" + e.name() + "\": size is not a whole number of bytes");
      }
      return bits / 8;
    } catch (ArithmeticException overflow) {
      throw new TensorFileException(
          file, "tensor \"" + e.name() + "\": size of " + e.dims() + " overflows", overflow);
    }
  }
}
