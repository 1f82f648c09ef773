// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.DeviceException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;

/**
 * The kernels of one device. A family is loaded when its first kernel is asked for: as machine code
 * for exactly this device from the folder that the system property {@value #IMAGES} names, if there
 * is some, else as PTX from the jar, which the driver compiles once and keeps in its own cache.
 * Some families have PTX for Hopper beside that for all devices; a driver too old for it gets the
 * latter, and one line of the log says so. Others have PTX for Hopper alone: who launches them has
 * asked for the driver's version before.
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

  /** What a driver answers to PTX that it does not know: invalid image, binary, PTX, version. */
  private static final Set<Integer> OLD_DRIVER = Set.of(200, 209, 218, 222);

  private static final Logger LOG = System.getLogger(KernelModules.class.getName());

  private final int capability;
  private final int sharedPerBlock;
  private final Map<String, Long> modules = new ConcurrentHashMap<>();
  private final Map<String, Function> functions = new ConcurrentHashMap<>();
  private volatile boolean plain; // only PTX for all devices loads

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

  /** Loads an image as a family of its own. */
  void add(String family, byte[] image) {
    modules.put(family, Driver.load(image, "kernels " + family));
  }

  private Function resolve(String family, String name) {
    long module = modules.computeIfAbsent(family, this::load);
    return new Function(name, Driver.function(module, name));
  }

  private long load(String family) {
    String what = "kernels " + family;
    try {
      byte[] own = machineCode(family);
      if (own != null) {
        return Driver.load(own, what);
      }
      boolean forAll = KernelModules.class.getResource(resource(family)) != null;
      byte[] hopper = capability == 90 && !(plain && forAll) ? ptx(family + ".90a") : null;
      if (hopper != null) {
        try {
          return Driver.load(hopper, what);
        } catch (CudaException e) {
          if (!OLD_DRIVER.contains(e.code())) {
            throw e;
          }
          String said = e.getMessage();
          if (!forAll) {
            throw new DeviceException(
                "the driver does not take the kernels "
                    + family
                    + ", which are for Hopper alone; update it to 530 or newer, or start Java with"
                    + " -Dsfumato.cuda.wgmma=off. It said: "
                    + said);
          }
          plain = true; // its PTX is of a later version than that for all devices
          LOG.log(Level.WARNING, "PTX for all devices is used instead of Hopper''s: {0}", said);
        }
      }
      byte[] all = ptx(family);
      if (all != null) {
        return Driver.load(all, what);
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

  private byte @Nullable [] machineCode(String family) throws IOException {
    String folder = System.getProperty(IMAGES);
    if (folder != null) {
      for (String arch : List.of("sm_" + capability + "a", "sm_" + capability)) {
        Path file = Path.of(folder, family + "." + arch + ".cubin");
        if (Files.exists(file)) {
          return Files.readAllBytes(file);
        }
      }
    }
    return null;
  }

  private static String resource(String name) {
    return "/io/sfumato/cuda/kernels/" + name + ".ptx.gz";
  }

  private static byte @Nullable [] ptx(String name) throws IOException {
    try (InputStream in = KernelModules.class.getResourceAsStream(resource(name))) {
      return in == null ? null : new GZIPInputStream(in).readAllBytes();
    }
  }
}
