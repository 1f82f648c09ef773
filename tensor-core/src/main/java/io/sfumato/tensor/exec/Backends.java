// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.cpu.CpuBackend;
import java.util.List;
import java.util.ServiceLoader;

/**
 * Finds the backend of a device. The CPU is always there; others come from {@link
 * BackendProvider}s.
 */
public final class Backends {
  private static final List<BackendProvider> PROVIDERS =
      ServiceLoader.load(BackendProvider.class, Backends.class.getClassLoader()).stream()
          .map(ServiceLoader.Provider::get)
          .toList();

  private Backends() {}

  /**
   * The backend of {@code device}.
   *
   * @throws DeviceException if there is none, with the reason and the remedy
   */
  public static Backend of(Device device) {
    if (device.isCpu()) {
      return CpuBackend.instance();
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
        return provider.open(device.index());
      }
    }
    throw new DeviceException(
        device
            + ": not used, because no backend for it is on the class path; add the dependency"
            + " io.sfumato:sfumato-cuda-kernels");
  }

  /** The best device there is: the first accelerator that works, else the CPU. */
  public static Device best() {
    for (BackendProvider provider : PROVIDERS) {
      if (provider.unavailable() == null && provider.count() > 0) {
        return new Device(provider.kind(), 0);
      }
    }
    return Device.CPU;
  }
}
