// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.exec.BackendProvider;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
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
    assertTrue(reason(new Probe.Present("12.6", 0, 0), true).contains("sees no device"));
    String old = reason(new Probe.Present("11.8", 2, 90), true);
    assertTrue(old.contains("knows CUDA 11.8 only") && old.contains("update it to 525"), old);
    String turing = reason(new Probe.Present("12.6", 1, 75), true);
    assertTrue(turing.contains("capability 7.5 and the kernels need 8.0"), turing);
    assertNull(reason(new Probe.Present("12.0", 1, 80), true));
    assertNull(reason(new Probe.Present("13.0", 2, 120), true));
    for (String text : List.of(halfThere, forbidden, failed, old, turing)) {
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
  void theServiceIsFound() {
    List<Class<?>> found = new ArrayList<>();
    ServiceLoader.load(BackendProvider.class).forEach(p -> found.add(p.getClass()));
    assertEquals(List.of(CudaProvider.class), found);
  }
}
