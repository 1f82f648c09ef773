// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.BackendProvider;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Offers the NVIDIA devices of this machine, or says why there is none to offer. */
public final class CudaProvider implements BackendProvider {
  /** What reads the kernels' PTX: CUDA 12.0, driver 525. */
  private static final int OLDEST_DRIVER = 12;

  private static final int OLDEST_CAPABILITY = 80;

  private static final Map<Integer, CudaBackend> OPEN = new HashMap<>();

  private final Probe probe;
  private boolean asked;
  private int count;
  private @Nullable String reason;

  /** The devices of this machine; nothing is looked for before it is asked for. */
  public CudaProvider() {
    this(new DriverProbe());
  }

  CudaProvider(Probe probe) {
    this.probe = probe;
  }

  @Override
  public String kind() {
    return "cuda";
  }

  /** {@inheritDoc} The machine is looked at once; the answer stays. */
  @Override
  public synchronized @Nullable String unavailable() {
    if (!asked) {
      try {
        reason = find();
      } catch (Throwable t) {
        reason = "looking for an NVIDIA driver failed (" + t + "); use --device cpu";
      }
      asked = true;
    }
    return reason;
  }

  @Override
  public synchronized int count() {
    return unavailable() == null ? count : 0;
  }

  @Override
  public Backend open(int index) {
    String why = unavailable();
    if (why != null) {
      throw new DeviceException(new Device(kind(), index) + ": not used, because " + why);
    }
    synchronized (OPEN) {
      return OPEN.computeIfAbsent(index, i -> new CudaBackend(Gpu.of(i)));
    }
  }

  /** What the tensors of the open devices hold: see {@link Cuda#unfreed}. */
  static String unfreed() {
    StringBuilder text = new StringBuilder();
    synchronized (OPEN) {
      OPEN.forEach(
          (index, backend) -> {
            String live = Storage.liveReport(backend.device());
            if (!live.isEmpty()) {
              text.append(backend.device()).append(" (").append(backend.gpu().name());
              text.append("): not freed; close scopes, models and optimizers:\n").append(live);
            }
          });
    }
    return text.toString();
  }

  private @Nullable String find() {
    Probe.Driver driver = probe.driver();
    return switch (driver) {
      case Probe.NoLibrary none when probe.hasKernelDriver() ->
          "an NVIDIA driver is running, but its library "
              + none.library()
              + " cannot be loaded ("
              + none.why()
              + "); install the driver's user libraries, or start the container with access to the"
              + " GPU, or use --device cpu";
      case Probe.NoLibrary none ->
          "no NVIDIA driver was found ("
              + none.library()
              + " cannot be loaded); install one, or use --device cpu";
      case Probe.Forbidden forbidden ->
          "native access is not allowed ("
              + forbidden.why()
              + "); start Java with --enable-native-access="
              + forbidden.module()
              + ", or use --device cpu";
      case Probe.Failed failed ->
          "the NVIDIA driver answers "
              + failed.call()
              + " with error "
              + failed.code()
              + explained(failed.code())
              + "; see what nvidia-smi says, or use --device cpu";
      case Probe.Present present when present.devices() == 0 ->
          "the NVIDIA driver (CUDA "
              + present.version()
              + ") sees no device; is one there, and does CUDA_VISIBLE_DEVICES hide it? Else use"
              + " --device cpu";
      case Probe.Present present when tooOld(present.version()) ->
          "the NVIDIA driver knows CUDA "
              + present.version()
              + " only and the kernels need 12.0; update it to 525 or newer, or use --device cpu";
      case Probe.Present present when present.capability() < OLDEST_CAPABILITY ->
          "the device has compute capability "
              + present.capability() / 10.0
              + " and the kernels need 8.0 (Ampere) or newer; let CUDA_VISIBLE_DEVICES choose"
              + " another one, or use --device cpu";
      case Probe.Present present -> {
        count = present.devices();
        yield null;
      }
    };
  }

  private static boolean tooOld(String version) {
    return Integer.parseInt(version.substring(0, version.indexOf('.'))) < OLDEST_DRIVER;
  }

  /** The names of the errors that cuInit is known for (CUDA driver API, CUresult). */
  private static String explained(int code) {
    return switch (code) {
      case 3 -> " (not initialised)";
      case 34 -> " (the library is a stub)";
      case 46 -> " (the device is not available)";
      case 100 -> " (no device; does CUDA_VISIBLE_DEVICES hide it?)";
      case 101 -> " (invalid device)";
      case 802 -> " (the system is not yet ready)";
      case 803 -> " (the driver and its library are of different versions)";
      case 804 -> " (the library is too new for this device)";
      case 999 -> " (unknown)";
      default -> "";
    };
  }
}
