// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.exec.BackendProvider;
import io.sfumato.tensor.exec.Backends;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import org.junit.jupiter.api.Test;

class CudaProviderTest {
  private static String reason(Probe.Driver driver, boolean kernelDriver) {
    return new CudaProvider(
            new Probe() {
              @Override
              public Driver driver() {
                return driver;
              }

              @Override
              public boolean hasKernelDriver() {
                return kernelDriver;
              }
            })
        .unavailable();
  }

  @Test
  void eachReasonComesWithItsRemedy() {
    Probe.Driver none = new Probe.NoLibrary("libcuda.so.1", "cannot open");
    assertEquals(
        "no NVIDIA driver was found (libcuda.so.1 cannot be loaded); install one, or use --device"
            + " cpu",
        reason(none, false));
    String halfThere = reason(none, true);
    assertTrue(halfThere.contains("driver is running"));
    assertTrue(halfThere.contains("cannot open") && halfThere.contains("container"), halfThere);
    String forbidden = reason(new Probe.Forbidden("io.sfumato.cuda", "illegal"), false);
    assertTrue(forbidden.contains("--enable-native-access=io.sfumato.cuda"), forbidden);
    String failed = reason(new Probe.Failed("cuInit", 803), true);
    assertTrue(failed.contains("cuInit with error 803 (the driver and its library"), failed);
    assertTrue(reason(new Probe.Failed("cuInit", 100), true).contains("CUDA_VISIBLE_DEVICES"));
    assertTrue(reason(new Probe.Failed("cuInit", 12345), true).contains("error 12345;"));
    assertTrue(reason(new Probe.Present("12.6", 0), true).contains("sees no device"));
    String present = reason(new Probe.Present("12.6", 2), true);
    assertTrue(present.contains("no CUDA kernels yet"), present);
    assertTrue(present.contains("CUDA 12.6, and 2 devices are there"), present);
    assertTrue(reason(new Probe.Present("12.6", 1), true).contains("1 device are there"));
    for (String text : List.of(halfThere, forbidden, failed, present)) {
      assertTrue(text.contains("use --device cpu"), text);
    }
  }

  @Test
  void whateverGoesWrongIsAReasonAndIsAskedOnce() {
    for (Throwable t : List.of(new UnsatisfiedLinkError("odd"), new IllegalStateException("odd"))) {
      int[] asked = {0};
      CudaProvider provider =
          new CudaProvider(
              new Probe() {
                @Override
                public Driver driver() {
                  asked[0]++;
                  if (t instanceof Error e) {
                    throw e;
                  }
                  throw (RuntimeException) t;
                }

                @Override
                public boolean hasKernelDriver() {
                  return false;
                }
              });
      assertTrue(provider.unavailable().contains("odd"));
      assertEquals(provider.unavailable(), provider.unavailable());
      assertEquals(1, asked[0]);
      assertEquals(0, provider.count());
      assertEquals("cuda", provider.kind());
      DeviceException e = assertThrows(DeviceException.class, () -> provider.open(1));
      assertTrue(e.getMessage().startsWith("cuda:1: not used, because looking"), e.getMessage());
    }
  }

  @Test
  void aMissingLibraryAndAForeignOneAreTold() {
    Probe.NoLibrary missing =
        assertInstanceOf(
            Probe.NoLibrary.class, new DriverProbe("libsfumato-missing.so.9").driver());
    assertEquals("libsfumato-missing.so.9", missing.library());
    if (System.getProperty("os.name").equals("Linux")) {
      Probe.NoLibrary foreign =
          assertInstanceOf(Probe.NoLibrary.class, new DriverProbe("libc.so.6").driver());
      assertTrue(foreign.why().contains("not NVIDIA's"), foreign.why());
    }
  }

  @Test
  void thisMachineIsExplained() {
    CudaProvider provider = new CudaProvider();
    String reason = provider.unavailable();
    assertTrue(reason.contains("use --device cpu"), reason);
    boolean driver = new DriverProbe().driver() instanceof Probe.Present(String v, int n) && n > 0;
    assertEquals(driver, reason.contains("no CUDA kernels yet"), reason);
  }

  @Test
  void theServiceIsFound() {
    List<Class<?>> found = new ArrayList<>();
    ServiceLoader.load(BackendProvider.class).forEach(p -> found.add(p.getClass()));
    assertEquals(List.of(CudaProvider.class), found);
    DeviceException e =
        assertThrows(DeviceException.class, () -> Backends.of(Device.parse("cuda:0")));
    assertTrue(e.getMessage().startsWith("cuda:0: not used, because "), e.getMessage());
    assertTrue(e.getMessage().contains("--device cpu"), e.getMessage());
  }

  @Test
  void theBestDeviceIsTheCpuAndOneLineSaysWhy() {
    List<String> lines = new ArrayList<>();
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord r) {
            lines.add(r.getLevel() + " " + new SimpleFormatter().formatMessage(r));
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    Logger logger = Logger.getLogger("io.sfumato.exec");
    boolean before = logger.getUseParentHandlers();
    logger.setUseParentHandlers(false);
    logger.addHandler(handler);
    try {
      assertEquals(Device.CPU, Backends.best());
      assertEquals(Device.CPU, Backends.best());
    } finally {
      logger.removeHandler(handler);
      logger.setUseParentHandlers(before);
    }
    assertEquals(1, lines.size(), lines::toString);
    assertTrue(
        lines.getFirst().startsWith(Level.INFO + " cuda: not used, because "), lines.getFirst());
    assertFalse(lines.getFirst().contains("{0}"));
  }
}
