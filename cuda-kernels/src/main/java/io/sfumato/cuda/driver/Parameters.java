// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DeviceException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * Compares a launch's arguments with the kernel's parameters, once per kernel: a wrong number or
 * size would make the kernel read what lies beside. Drivers older than CUDA 12.4 cannot tell.
 */
final class Parameters {
  private static final String NAME = "cuFuncGetParamInfo";
  private static final boolean KNOWN = Driver.has(NAME);
  private static final MethodHandle INFO =
      Driver.bind(NAME, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

  private Parameters() {}

  /**
   * Checks the bytes of each argument.
   *
   * @throws DeviceException if they differ from the parameters
   */
  static void check(String kernel, long function, List<Integer> given) {
    if (!KNOWN) {
      return;
    }
    List<Integer> wanted = new ArrayList<>();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(JAVA_LONG, 2);
      MemorySegment size = out.asSlice(8);
      while ((int) INFO.invokeExact(function, (long) wanted.size(), out, size) == 0) {
        wanted.add((int) out.get(JAVA_LONG, 8));
      }
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
    if (!wanted.equals(given)) {
      throw new DeviceException(
          "kernel "
              + kernel
              + " has parameters of "
              + wanted
              + " bytes and is given "
              + given
              + "; this is a bug of the library");
    }
  }
}
