// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** Finds out whether ranks agree, and in what they do not. */
public final class Agreement {
  private static final int MOST_SHOWN = 10;
  private static final long CHUNK = 1 << 30; // of a tensor; a ByteBuffer takes no more than 2 GiB

  private Agreement() {}

  /**
   * Checks that every rank has the same settings.
   *
   * @param what they are the settings of
   * @param own those of this rank
   * @throws CollectiveException on every rank, with the settings that differ and who has what
   */
  public static void check(Collectives ranks, String what, Map<String, String> own) {
    byte[][] all = ranks.exchange(write(own));
    List<Map<String, String>> settings = new ArrayList<>();
    for (byte[] message : all) {
      settings.add(read(message));
    }
    TreeSet<String> names = new TreeSet<>();
    settings.forEach(s -> names.addAll(s.keySet()));
    List<String> differences = new ArrayList<>();
    for (String name : names) {
      String first = settings.getFirst().get(name);
      for (int r = 1; r < settings.size(); r++) {
        String other = settings.get(r).get(name);
        if (!Objects.equals(first, other)) {
          differences.add(
              String.format(
                  "%s is %s on rank 0 and %s on rank %d", name, show(first), show(other), r));
          break;
        }
      }
    }
    if (!differences.isEmpty()) {
      int shown = Math.min(MOST_SHOWN, differences.size());
      throw new CollectiveException(
          "the ranks differ in "
              + what
              + ": "
              + String.join("; ", differences.subList(0, shown))
              + (shown < differences.size()
                  ? "; and " + (differences.size() - shown) + " more"
                  : ""));
    }
  }

  private static String show(@Nullable String value) {
    return value == null ? "absent" : value;
  }

  private static byte[] write(Map<String, String> settings) {
    Properties properties = new Properties();
    properties.putAll(settings);
    try (ByteArrayOutputStream bytes = new ByteArrayOutputStream()) {
      properties.store(bytes, null);
      return bytes.toByteArray();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Map<String, String> read(byte[] message) {
    Properties properties = new Properties();
    try {
      properties.load(new ByteArrayInputStream(message));
    } catch (IOException e) {
      throw new UncheckedIOException(new String(message, StandardCharsets.UTF_8), e);
    }
    Map<String, String> settings = new TreeMap<>();
    properties.stringPropertyNames().forEach(n -> settings.put(n, properties.getProperty(n)));
    return settings;
  }

  /** 64 bits of a tensor's bytes in row-major order, on the CPU: CRC-32C and CRC-32. */
  static long hash(Tensor t) {
    try (Scope scope = Scope.open()) {
      Tensor own = t.to(Device.CPU).contiguous();
      MemorySegment memory =
          MemorySegment.ofAddress(own.address()).reinterpret(own.numel() * own.dtype().bytes());
      CRC32C high = new CRC32C();
      CRC32 low = new CRC32();
      for (long at = 0; at < memory.byteSize(); at += CHUNK) {
        MemorySegment piece = memory.asSlice(at, Math.min(CHUNK, memory.byteSize() - at));
        high.update(piece.asByteBuffer());
        low.update(piece.asByteBuffer());
      }
      return high.getValue() << 32 | low.getValue();
    }
  }
}
