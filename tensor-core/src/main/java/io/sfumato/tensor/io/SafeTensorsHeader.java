// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The header of a safetensors file, checked: entries fill the byte buffer without holes or
 * overlaps, sizes agree with shapes, and the file has exactly the promised length. The rules, and
 * the order of element types, are those of the reference implementation (huggingface/safetensors,
 * tensor.rs), but for names given twice, which its documentation forbids and this reader refuses.
 *
 * @param entries by name, in file order
 * @param metadata the {@code __metadata__} strings
 * @param dataStart offset of the byte buffer in the file
 */
record SafeTensorsHeader(
    Map<String, TensorEntry> entries, Map<String, String> metadata, long dataStart) {
  /** The reference's limit on the header's length. */
  static final long MAX_LENGTH = 100_000_000;

  /** The key that holds strings instead of a tensor. */
  static final String METADATA = "__metadata__";

  /** Element types and their sizes in bits, in the reference's order. */
  static final Map<String, Integer> BITS =
      bits(
          "BOOL 8, F4 4, F6_E2M3 6, F6_E3M2 6, U8 8, I8 8, F8_E5M2 8, F8_E4M3 8, F8_E8M0 8,"
              + " F8_E4M3FNUZ 8, F8_E5M2FNUZ 8, I16 16, U16 16, F16 16, BF16 16, I32 32, U32 32,"
              + " F32 32, C64 64, F64 64, I64 64, U64 64");

  private static Map<String, Integer> bits(String table) {
    Map<String, Integer> bits = new LinkedHashMap<>();
    for (String row : table.split(", ", -1)) {
      int space = row.indexOf(' ');
      bits.put(row.substring(0, space), Integer.valueOf(row.substring(space + 1)));
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
    Map<String, TensorEntry> entries = new LinkedHashMap<>();
    Map<String, String> metadata = new LinkedHashMap<>();
    boolean[] hasMetadata = {false};
    HeaderJson reader = new HeaderJson(json);
    try {
      reader.object(
          key -> {
            if (!key.equals(METADATA)) {
              if (entries.put(key, readEntry(reader, key)) != null) {
                throw reader.malformed("second tensor named " + HeaderJson.quoted(key));
              }
            } else if (hasMetadata[0]) {
              throw reader.malformed("second " + METADATA);
            } else {
              hasMetadata[0] = true;
              readMetadata(reader, metadata);
            }
          });
      reader.end();
    } catch (HeaderJson.Malformed e) {
      throw new TensorFileException(file, "header is not valid: " + e.getMessage(), e);
    }
    return checked(file, entries, metadata, 8L + json.length, fileLength);
  }

  private static void readMetadata(HeaderJson reader, Map<String, String> metadata)
      throws HeaderJson.Malformed {
    if (reader.tryNull()) {
      return;
    }
    reader.object(
        key -> {
          if (reader.peek() != '"') {
            throw reader.malformed(METADATA + " must be an object of strings: " + what(key));
          }
          if (metadata.put(key, reader.string()) != null) {
            throw reader.malformed("second " + METADATA + " string " + HeaderJson.quoted(key));
          }
        });
  }

  private static String what(String key) {
    return HeaderJson.quoted(key) + " is none";
  }

  /** The fields of one entry as they come. */
  private static final class Fields {
    private @Nullable String type;
    private @Nullable List<Long> dims;
    private @Nullable List<Long> range;

    void read(HeaderJson reader, String field) throws HeaderJson.Malformed {
      switch (field) {
        case "dtype" -> {
          once(reader, field, type);
          type = reader.string();
        }
        case "shape" -> {
          once(reader, field, dims);
          dims = reader.integers();
        }
        case "data_offsets" -> {
          once(reader, field, range);
          range = reader.integers();
        }
        default -> reader.skip();
      }
    }

    private static void once(HeaderJson reader, String field, @Nullable Object before)
        throws HeaderJson.Malformed {
      if (before != null) {
        throw reader.malformed("second " + field + " of a tensor");
      }
    }
  }

  /** An object, or an array of type, shape and offsets, as the reference reads it, too. */
  private static TensorEntry readEntry(HeaderJson reader, String name) throws HeaderJson.Malformed {
    Fields fields = new Fields();
    if (reader.peek() == '[') {
      List<String> order = List.of("dtype", "shape", "data_offsets");
      reader.array(
          i -> {
            if (i >= order.size()) {
              throw reader.malformed("tensor " + HeaderJson.quoted(name) + " has too many fields");
            }
            fields.read(reader, order.get(i));
          });
    } else {
      reader.object(field -> fields.read(reader, field));
    }
    String type = fields.type;
    List<Long> dims = fields.dims;
    List<Long> range = fields.range;
    if (type == null || dims == null || range == null) {
      throw reader.malformed(
          "tensor "
              + HeaderJson.quoted(name)
              + " lacks "
              + (type == null ? "dtype" : dims == null ? "shape" : "data_offsets"));
    }
    if (!BITS.containsKey(type)) {
      throw reader.malformed(
          "tensor " + HeaderJson.quoted(name) + ": unknown dtype " + HeaderJson.quoted(type));
    }
    if (range.size() != 2) {
      throw reader.malformed(
          "tensor " + HeaderJson.quoted(name) + ": data_offsets must be two numbers");
    }
    return new TensorEntry(name, type, dims, range.get(0), range.get(1));
  }

  private static SafeTensorsHeader checked(
      Path file,
      Map<String, TensorEntry> entries,
      Map<String, String> metadata,
      long dataStart,
      long fileLength) {
    List<TensorEntry> sorted = new ArrayList<>(entries.values());
    sorted.sort(
        (a, b) -> {
          int order = Long.compareUnsigned(a.begin(), b.begin());
          return order != 0 ? order : Long.compareUnsigned(a.end(), b.end());
        });
    Map<String, TensorEntry> inFileOrder = new LinkedHashMap<>();
    long position = 0;
    for (TensorEntry e : sorted) {
      if (e.begin() != position || Long.compareUnsigned(e.end(), e.begin()) < 0) {
        throw fault(
            file,
            e,
            "data_offsets "
                + List.of(Long.toUnsignedString(e.begin()), Long.toUnsignedString(e.end()))
                + " leave a hole or overlap; the next free byte is "
                + Long.toUnsignedString(position));
      }
      long promised = bytes(file, e);
      if (promised != e.bytes()) {
        throw fault(
            file,
            e,
            e.type()
                + " "
                + e.dimsText()
                + " needs "
                + Long.toUnsignedString(promised)
                + " bytes, but data_offsets span "
                + Long.toUnsignedString(e.bytes()));
      }
      position = e.end();
      inFileOrder.put(e.name(), e);
    }
    long available = fileLength - dataStart;
    if (position != available) { // exact: no sum that could wrap
      boolean truncated = Long.compareUnsigned(position, available) > 0;
      throw new TensorFileException(
          file,
          "the header promises "
              + Long.toUnsignedString(position)
              + " bytes of tensors, but the file has "
              + available
              + (truncated ? " (truncated)" : ""));
    }
    return new SafeTensorsHeader(inFileOrder, metadata, dataStart);
  }

  /** The size in bytes; as in the reference, dimensions are multiplied from left to right. */
  private static long bytes(Path file, TensorEntry e) {
    long bits = 1;
    boolean overflow = false;
    for (long d : e.dims()) {
      overflow |= Math.unsignedMultiplyHigh(bits, d) != 0;
      bits *= d;
    }
    int size = BITS.getOrDefault(e.type(), 0);
    overflow |= Math.unsignedMultiplyHigh(bits, size) != 0;
    bits *= size;
    if (overflow) {
      throw fault(file, e, "the size of " + e.dimsText() + " overflows 64 bits");
    }
    if (bits % 8 != 0) {
      throw fault(file, e, e.type() + " " + e.dimsText() + " is not a whole number of bytes");
    }
    return bits >>> 3;
  }

  private static TensorFileException fault(Path file, TensorEntry e, String what) {
    return new TensorFileException(file, "tensor " + HeaderJson.quoted(e.name()) + ": " + what);
  }
}
