// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.DeviceException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;

/**
 * The kernels of one device. A family is loaded when its first kernel is asked for: as machine code
 * for exactly this device from the folder that the system property {@value #IMAGES} names, if there
 * is some, else as PTX from the jar, which the driver compiles once and keeps in its own cache.
 */
final class KernelModules {
  /** The system property with a folder of kernel images. */
  static final String IMAGES = "sfumato.cuda.images";

  private static final int MAX_DYNAMIC_SHARED = 8; // CUfunction_attribute

  /**
   * Dynamic shared memory a block gets without asking: 48 KB together with what the kernel declares
   * itself, for which a third of it is left here.
   */
  private static final int FREE_SHARED = 32 << 10;

  private final int capability;
  private final int sharedPerBlock;
  private final Map<String, Long> modules = new ConcurrentHashMap<>();
  private final Map<String, Function> functions = new ConcurrentHashMap<>();

  KernelModules(int capability, int sharedPerBlock) {
    this.capability = capability;
    this.sharedPerBlock = sharedPerBlock;
  }

  /** A kernel that can be launched. */
  final class Function {
    private final String name;
    private final long handle;
    private volatile int allowed = FREE_SHARED;
    private volatile boolean checked;

    Function(String name, long handle) {
      this.name = name;
      this.handle = handle;
    }

    String name() {
      return name;
    }

    long handle() {
      return handle;
    }

    /** Whether a launch's arguments have been compared with the parameters. */
    boolean isChecked() {
      return checked;
    }

    /** Compares them; {@code sizes} are the arguments' bytes. */
    void check(List<Integer> sizes) {
      Parameters.check(name, handle, sizes);
      checked = true;
    }

    /** Asks for the right to use more dynamic shared memory than a block gets by default. */
    void allowShared(int bytes) {
      if (bytes > allowed) {
        if (bytes > sharedPerBlock) {
          throw new DeviceException(
              name
                  + " needs "
                  + bytes
                  + " bytes of shared memory per block; this device has "
                  + sharedPerBlock);
        }
        Driver.setFunctionAttribute(handle, MAX_DYNAMIC_SHARED, bytes);
        allowed = bytes;
      }
    }
  }

  Function function(String family, String name) {
    Function known = functions.get(name);
    return known != null ? known : functions.computeIfAbsent(name, n -> resolve(family, n));
  }

  private Function resolve(String family, String name) {
    long module = modules.computeIfAbsent(family, f -> Driver.load(image(f), "kernels " + f));
    return new Function(name, Driver.function(module, name));
  }

  private byte[] image(String family) {
    String folder = System.getProperty(IMAGES);
    try {
      if (folder != null) {
        for (String arch : List.of("sm_" + capability + "a", "sm_" + capability)) {
          Path file = Path.of(folder, family + "." + arch + ".cubin");
          if (Files.exists(file)) {
            return Files.readAllBytes(file);
          }
        }
      }
      for (String suffix : capability == 90 ? List.of(".90a", "") : List.of("")) {
        String resource = "/io/sfumato/cuda/kernels/" + family + suffix + ".ptx.gz";
        try (InputStream in = KernelModules.class.getResourceAsStream(resource)) {
          if (in != null) {
            return new GZIPInputStream(in).readAllBytes();
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("the image of the kernels " + family + " cannot be read", e);
    }
    throw new DeviceException(
        "there is no image of the kernels "
            + family
            + " in the jar; build it with mvn -Pkernels -pl cuda-kernels -am test-compile (needs"
            + " nvcc)");
  }
}
