// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.library.Cudnn;
import io.sfumato.cuda.library.DiskCache;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/**
 * Which way was fastest for a convolution, kept on disk for later processes: by device, driver,
 * cuDNN, the kernels of this library and the convolution itself, for each of them may change the
 * answer.
 */
final class ConvChoices {
  /** The system property that keeps choices from disk, by {@code false}. */
  static final String PROPERTY = "sfumato.cuda.plans";

  private static final List<String> KERNELS =
      List.of("conv_mma", "conv_tf32", "conv_simt", "conv_direct");

  private final @Nullable DiskCache cache;
  private final String machine;

  /**
   * The choices of a device.
   *
   * @param cache where they are, or null for nowhere
   */
  ConvChoices(Gpu gpu, @Nullable Cudnn cudnn, @Nullable DiskCache cache) {
    this.cache = cache;
    machine =
        String.join(
            "\n",
            "convolution",
            gpu.name(),
            "capability " + gpu.capability(),
            "multiprocessors " + gpu.multiprocessors(),
            "driver " + Gpu.driverVersion(),
            "cudnn " + (cudnn == null ? "none" : cudnn.version()),
            "kernels " + Long.toHexString(kernels()));
  }

  /** Those of this user, unless the property says that there are none. */
  static ConvChoices of(Gpu gpu, @Nullable Cudnn cudnn) {
    boolean none = System.getProperty(PROPERTY, "true").equals("false");
    return new ConvChoices(gpu, cudnn, none ? null : DiskCache.ofThisUser("plans"));
  }

  /** The way that was chosen, or null. */
  @Nullable String known(Object convolution) {
    byte[] name = cache == null ? null : cache.get(key(convolution));
    return name == null ? null : new String(name, StandardCharsets.UTF_8);
  }

  /** Keeps what was chosen. */
  void keep(Object convolution, String way) {
    if (cache != null) {
      cache.put(key(convolution), way.getBytes(StandardCharsets.UTF_8));
    }
  }

  private String key(Object convolution) {
    return machine + "\n" + convolution;
  }

  private static long kernels() {
    CRC32 sum = new CRC32();
    for (String family : KERNELS) {
      String resource = "/io/sfumato/cuda/kernels/" + family + ".ptx.gz";
      try (InputStream in = ConvChoices.class.getResourceAsStream(resource)) {
        if (in != null) {
          sum.update(in.readAllBytes());
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return sum.getValue();
  }
}
