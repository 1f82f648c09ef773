// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.exec.Backends;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Files in the safetensors format (github.com/huggingface/safetensors): eight bytes of header
 * length, a JSON header, one byte buffer. Reading maps the file, checks the whole header before
 * anything is allocated, and works beyond 2 GiB. Writing is canonical (equal content gives equal
 * bytes, those of the reference implementation) and atomic.
 */
public final class SafeTensors implements TensorSource {
  private static final List<String> ORDER = List.copyOf(SafeTensorsHeader.BITS.keySet());

  private final Path file;
  private final SafeTensorsHeader header;
  private final Arena arena;
  private final MemorySegment data;

  private SafeTensors(Path file, SafeTensorsHeader header, Arena arena, MemorySegment data) {
    this.file = file;
    this.header = header;
    this.arena = arena;
    this.data = data;
  }

  /**
   * Opens a file.
   *
   * @throws TensorFileException if it is missing or breaks a rule of the format
   */
  public static SafeTensors open(Path file) {
    if (!Files.isRegularFile(file)) { // opening a pipe would wait for its other end
      throw new TensorFileException(file, Files.exists(file) ? "is not a file" : "no such file");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long length = channel.size();
      if (length < 8) {
        throw new TensorFileException(
            file, "too short for a safetensors file: " + length + " bytes, at least 8 needed");
      }
      ByteBuffer first = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      readFully(file, channel, first, 0);
      long size = first.getLong(0);
      if (size < 0 || size > SafeTensorsHeader.MAX_LENGTH) {
        throw new TensorFileException(
            file,
            "header length "
                + Long.toUnsignedString(size)
                + " exceeds the limit of "
                + SafeTensorsHeader.MAX_LENGTH
                + " (is this a safetensors file?)");
      }
      if (8 + size > length) {
        throw new TensorFileException(
            file, "header length " + size + " at offset 0 exceeds the file's " + length + " bytes");
      }
      ByteBuffer json = ByteBuffer.allocate((int) size);
      readFully(file, channel, json, 8);
      SafeTensorsHeader header = SafeTensorsHeader.parse(file, json.array(), length);
      long start = header.dataStart();
      Arena arena = Arena.ofShared();
      return new SafeTensors(file, header, arena, map(channel, start, length - start, arena));
    } catch (IOException e) {
      throw new TensorFileException(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  private static MemorySegment map(FileChannel channel, long from, long bytes, Arena arena)
      throws IOException {
    try {
      return bytes == 0
          ? MemorySegment.NULL
          : channel.map(FileChannel.MapMode.READ_ONLY, from, bytes, arena);
    } catch (IOException | RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  private static void readFully(Path file, FileChannel channel, ByteBuffer into, long from)
      throws IOException {
    while (into.hasRemaining()) {
      if (channel.read(into, from + into.position()) < 0) {
        throw new TensorFileException(file, "ends at offset " + (from + into.position()));
      }
    }
  }

  @Override
  public String description() {
    return file.toString();
  }

  @Override
  public Map<String, TensorEntry> entries() {
    return Collections.unmodifiableMap(header.entries());
  }

  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(header.metadata());
  }

  @Override
  public Tensor read(String name) {
    TensorEntry entry = entry(name);
    DType dtype =
        entry
            .dtype()
            .orElseThrow(() -> unreadable(entry, "type " + entry.type() + " is not supported"));
    return read(entry, dtype);
  }

  @Override
  public Tensor readBytes(String name) {
    TensorEntry entry = entry(name);
    if (SafeTensorsHeader.BITS.getOrDefault(entry.type(), 0) != 8) {
      throw unreadable(entry, "elements of type " + entry.type() + " are not bytes");
    }
    return read(entry, DType.U8);
  }

  private TensorEntry entry(String name) {
    TensorEntry entry = header.entries().get(name);
    if (entry == null) {
      throw new TensorFileException(file, "holds no tensor " + HeaderJson.quoted(name));
    }
    return entry;
  }

  private Tensor read(TensorEntry entry, DType dtype) {
    Shape shape;
    try {
      shape = entry.shape();
    } catch (ArithmeticException e) {
      throw unreadable(entry, "dimensions " + entry.dimsText() + " are too large");
    }
    if (!arena.scope().isAlive()) {
      throw new IllegalStateException(file + " has been closed");
    }
    Scope scope = Scope.current();
    Storage storage = CpuBackend.instance().allocate(entry.bytes());
    Tensor t = Tensor.owned(storage, Layout.contiguous(shape), dtype, scope);
    try {
      MemorySegment.copy(data, entry.begin(), Memory.ALL, storage.address(), entry.bytes());
    } catch (InternalError e) { // how the virtual machine reports a page that is gone
      throw new TensorFileException(
          file, "cannot be read; was it truncated since it was opened?", e);
    }
    return t;
  }

  private TensorFileException unreadable(TensorEntry entry, String why) {
    return new TensorFileException(
        file, "tensor " + HeaderJson.quoted(entry.name()) + " cannot be read: " + why);
  }

  /**
   * Closes the file; closing twice does nothing. Tensors that were read stay; a read under way in
   * another thread may fail.
   */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  // ---- writing

  /**
   * Writes a file with the metadata {@code format = pt}, which the Python loaders expect.
   *
   * @see #save(Path, Map, Map)
   */
  public static void save(Path file, Map<String, Tensor> tensors) {
    save(file, tensors, Map.of("format", "pt"));
  }

  /**
   * Writes tensors of any device and layout, in the canonical form: sorted by type, then by name,
   * without gaps; the metadata first. The file appears whole or not at all: what was there before
   * stays until the new content is on disk. Inside of {@link DeferredWrites#of} it is written
   * later.
   *
   * @param file the target; its folder must exist
   * @param tensors by name
   * @param metadata free strings
   * @throws TensorFileException if it cannot be written
   * @throws IllegalArgumentException if a name is not valid Unicode or is {@code __metadata__}, or
   *     the header exceeds 100 MB
   */
  public static void save(Path file, Map<String, Tensor> tensors, Map<String, String> metadata) {
    save(file, tensors, metadata, Set.of());
  }

  /**
   * As {@link #save(Path, Map, Map)}, with some bytes declared as signed.
   *
   * @param signed the names of U8 tensors that hold two's complements and are written as I8
   */
  public static void save(
      Path file, Map<String, Tensor> tensors, Map<String, String> metadata, Set<String> signed) {
    if (tensors.containsKey(SafeTensorsHeader.METADATA)) {
      throw new IllegalArgumentException(
          "a tensor cannot be called " + SafeTensorsHeader.METADATA + ": " + file);
    }
    tensors.values().forEach(t -> t.storage().address()); // throws if freed
    if (DeferredWrites.CURRENT.isBound()) {
      DeferredWrites.CURRENT.get().add(file, tensors, metadata, signed);
      return;
    }
    List<Map.Entry<String, Tensor>> sorted = new ArrayList<>(tensors.entrySet());
    sorted.sort(
        Comparator.comparingInt((Map.Entry<String, Tensor> e) -> -ORDER.indexOf(type(e, signed)))
            .thenComparing(
                e -> e.getKey().getBytes(StandardCharsets.UTF_8), Arrays::compareUnsigned));
    byte[] header = header(sorted, metadata, signed);
    AtomicFile.write(
        file,
        out -> {
          ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
          AtomicFile.writeFully(out, length.putLong(0, header.length));
          AtomicFile.writeFully(out, ByteBuffer.wrap(header));
          for (Map.Entry<String, Tensor> e : sorted) {
            writeData(out, e.getValue());
          }
        });
  }

  private static String type(Map.Entry<String, Tensor> e, Set<String> signed) {
    DType dtype = e.getValue().dtype();
    if (!signed.contains(e.getKey())) {
      return dtype.name();
    }
    if (dtype != DType.U8) {
      throw new IllegalArgumentException(e.getKey() + ": only u8 can be written as I8");
    }
    return "I8";
  }

  private static byte[] header(
      List<Map.Entry<String, Tensor>> sorted, Map<String, String> metadata, Set<String> signed) {
    StringBuilder json = new StringBuilder("{");
    if (!metadata.isEmpty()) {
      json.append("\"__metadata__\":{");
      String separator = "";
      for (Map.Entry<String, String> e : new TreeMap<>(metadata).entrySet()) {
        json.append(separator);
        quote(json, e.getKey());
        json.append(':');
        quote(json, e.getValue());
        separator = ",";
      }
      json.append('}');
    }
    long position = 0;
    for (Map.Entry<String, Tensor> e : sorted) {
      Tensor t = e.getValue();
      json.append(json.length() > 1 ? "," : "");
      quote(json, e.getKey());
      json.append(":{\"dtype\":\"").append(type(e, signed)).append("\",\"shape\":");
      json.append(t.shape().toString().replace(" ", "")).append(",\"data_offsets\":[");
      json.append(position).append(',');
      position += t.spec().bytes();
      json.append(position).append("]}");
    }
    byte[] bytes = json.append('}').toString().getBytes(StandardCharsets.UTF_8);
    if (bytes.length > SafeTensorsHeader.MAX_LENGTH - 8) {
      throw new IllegalArgumentException(
          "the header of "
              + sorted.size()
              + " tensors has "
              + bytes.length
              + " bytes; readers accept at most "
              + SafeTensorsHeader.MAX_LENGTH);
    }
    byte[] padded = Arrays.copyOf(bytes, (bytes.length + 7) & ~7);
    Arrays.fill(padded, bytes.length, padded.length, (byte) ' ');
    return padded;
  }

  static void quote(StringBuilder json, String s) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(s)) {
      throw new IllegalArgumentException(
          "the name or text " + HeaderJson.quoted(s) + " has an unpaired surrogate");
    }
    json.append('"');
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      switch (c) {
        case '"' -> json.append("\\\"");
        case '\\' -> json.append("\\\\");
        case '\b' -> json.append("\\b");
        case '\f' -> json.append("\\f");
        case '\n' -> json.append("\\n");
        case '\r' -> json.append("\\r");
        case '\t' -> json.append("\\t");
        default -> {
          if (c < 0x20) {
            json.append(String.format("\\u%04x", (int) c));
          } else {
            json.append(c);
          }
        }
      }
    }
    json.append('"');
  }

  private static void writeData(FileChannel out, Tensor t) throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor dense = t.contiguous();
      long bytes = t.spec().bytes();
      if (!dense.device().isCpu()) {
        Storage staging = CpuBackend.instance().allocate(bytes);
        scope.own(staging);
        Backends.of(dense.device()).download(dense.address(), staging.address(), bytes);
        writeRange(out, staging.address(), bytes);
      } else {
        writeRange(out, dense.address(), bytes);
      }
    }
  }

  private static void writeRange(FileChannel out, long address, long bytes) throws IOException {
    long step = 1 << 26;
    for (long at = 0; at < bytes; at += step) {
      MemorySegment part = Memory.ALL.asSlice(address + at, Math.min(step, bytes - at));
      AtomicFile.writeFully(out, part.asByteBuffer());
    }
  }
}
