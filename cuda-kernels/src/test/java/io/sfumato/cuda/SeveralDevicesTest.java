// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.Subprocess;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Two devices, whose work the emulated driver keeps in queues of their own: a device runs what
 * waits for it only when something waits for that device, so a missing wait gives wrong numbers.
 */
class SeveralDevicesTest {
  @Test
  void twoDevicesWorkSideBySide() {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver shows two devices");
    Subprocess.Result result =
        Subprocess.run(
            TwoDevices.class, Map.of("SFUMATO_EMU_DEVICES", "2"), "-Dsfumato.debug=true");
    String text = result.output();
    assertEquals(0, result.exit(), text);
    assertSays(text, "copy to cuda:1: true", "copy back to cuda:0: true");
    assertSays(text, "copy of a view: true, of nothing: [0, 3] f32 cuda:0");
    assertSays(text, "written over: true 7.0");
    assertSays(text, "mixed: add: all inputs must be on one device; move them with to(device)");
    assertSays(text, "got [2] f32 cuda:0, [2] f32 cuda:1");
    assertSays(
        text, "recording: copies from cuda:0 to cuda:1 cannot be recorded; make them before");
    assertFalse(text.contains("recorded "), text);
    assertSays(text, "after: 4.0", "pools: 0 and 1048576", "threads: true");
    assertSays(text, "fault: cuMemcpyPeerAsync failed with CUDA_ERROR_OUT_OF_MEMORY");
    assertSays(text, "events left: 0", "once more: 4.0");
    assertSays(text, "by way of the host: 0\n");
    String leaks = text.substring(text.indexOf("\nend"));
    assertSays(leaks, "cuda:1 (host emulator 1): not freed; close scopes", "12345 bytes on cuda:1");
    assertFalse(leaks.contains("cuda:0"), leaks);
  }

  @Test
  void devicesThatAreNotConnectedCopyByWayOfTheHostAndOneLineSaysSo() {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver shows two devices");
    Map<String, String> apart = Map.of("SFUMATO_EMU_DEVICES", "2", "SFUMATO_EMU_PEERS", "0");
    String text = Subprocess.run(TwoDevices.class, apart, "-Dsfumato.debug=true").output();
    assertSays(text, "copy to cuda:1: true", "copy back to cuda:0: true", "once more: 4.0");
    String line = "copies from cuda:0 to cuda:1 go by way of the host, which is slower, because";
    assertEquals(2, text.split(line, -1).length, text);
    assertFalse(text.contains("by way of the host: 0\n"), text);
  }

  @Test
  void whatIsNotFreedIsKnownInDebugRunsAlone() {
    assumeFalse(Boolean.getBoolean("sfumato.debug"));
    IllegalStateException e = assertThrows(IllegalStateException.class, Cuda::unfreed);
    assertSays(String.valueOf(e.getMessage()), "only with -Dsfumato.debug=true");
  }

  private static void assertSays(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }
}
