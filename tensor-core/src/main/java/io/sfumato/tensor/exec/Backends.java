// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.cpu.CpuBackend;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Finds the backend of a device. The CPU is always there; others come from {@link
 * BackendProvider}s.
 */
public final class Backends {
  private static final System.Logger LOG = System.getLogger("io.sfumato.exec");
  private static final List<BackendProvider> PROVIDERS = load();
  private static final Set<String> EXPLAINED = ConcurrentHashMap.newKeySet();

  /** The accelerator used last: asked for with every op. */
  private static volatile @Nullable Backend recent;

  private Backends() {}

  /** Those that can be loaded; one that cannot must not take the CPU with it. */
  private static List<BackendProvider> load() {
    List<BackendProvider> found = new ArrayList<>();
    ServiceLoader.load(BackendProvider.class, Backends.class.getClassLoader()).stream()
        .forEach(
            provider -> {
              try {
                found.add(provider.get());
              } catch (ServiceConfigurationError | LinkageError e) {
                LOG.log(
                    System.Logger.Level.WARNING,
                    "a backend cannot be loaded and is not used: " + e.getMessage(),
                    e);
              }
            });
    return List.copyOf(found);
  }

  /**
   * The backend of {@code device}.
   *
   * @throws DeviceException if there is none, with the reason and the remedy
   */
  public static Backend of(Device device) {
    if (device.isCpu()) {
      return CpuBackend.instance();
    }
    Backend known = recent;
    if (known != null && known.device().equals(device)) {
      return known;
    }
    if (device.equals(Device.META)) {
      throw new DeviceException("tensors on the device meta have no values to compute with");
    }
    for (BackendProvider provider : PROVIDERS) {
      if (provider.kind().equals(device.kind())) {
        String reason = provider.unavailable();
        if (reason != null) {
          throw new DeviceException(device + ": not used, because " + reason);
        }
        if (device.index() >= provider.count()) {
          throw new DeviceException(
              device + ": there are only " + provider.count() + " devices of this kind");
        }
        Backend opened = provider.open(device.index());
        recent = opened;
        return opened;
      }
    }
    throw new DeviceException(
        device
            + ": not used, because no backend for it is on the class path; add the dependency"
            + " io.sfumato:sfumato-cuda-kernels");
  }

  /**
   * The best device there is: the first accelerator that works, else the CPU. Why another is not
   * used is logged once.
   */
  public static Device best() {
    for (BackendProvider provider : PROVIDERS) {
      String reason = provider.unavailable();
      if (reason == null && provider.count() > 0) {
        return new Device(provider.kind(), 0);
      }
      if (EXPLAINED.add(provider.kind())) {
        LOG.log(
            System.Logger.Level.INFO,
            "{0}: not used, because {1}",
            provider.kind(),
            reason == null ? "there is no such device" : reason);
      }
    }
    return Device.CPU;
  }
}
