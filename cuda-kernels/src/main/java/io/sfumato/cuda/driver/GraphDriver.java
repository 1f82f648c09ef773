// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The driver's functions of graphs. Graphs, executable graphs and nodes are plain {@code long}s.
 */
final class GraphDriver {
  /** Allocation and loading of modules stay allowed while work is captured. */
  private static final int RELAXED = 2; // CUstreamCaptureMode

  private static final int ACTIVE = 1; // CUstreamCaptureStatus
  private static final int NODE_PARAMS = 72; // CUDA_KERNEL_NODE_PARAMS_v2

  private static final MethodHandle BEGIN =
      Driver.bind("cuStreamBeginCapture_v2", JAVA_LONG, JAVA_INT);
  private static final MethodHandle END = Driver.bind("cuStreamEndCapture", JAVA_LONG, ADDRESS);
  private static final MethodHandle INFO =
      Driver.bind(
          "cuStreamGetCaptureInfo_v2", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
  private static final MethodHandle NODES =
      Driver.bind("cuGraphGetNodes", JAVA_LONG, ADDRESS, ADDRESS);
  private static final MethodHandle INSTANTIATE =
      Driver.bind("cuGraphInstantiateWithFlags", ADDRESS, JAVA_LONG, JAVA_LONG);
  private static final MethodHandle LAUNCH = Driver.bind("cuGraphLaunch", JAVA_LONG, JAVA_LONG);
  private static final MethodHandle SET_KERNEL =
      Driver.bind("cuGraphExecKernelNodeSetParams_v2", JAVA_LONG, JAVA_LONG, ADDRESS);
  private static final MethodHandle DESTROY = Driver.bind("cuGraphDestroy", JAVA_LONG);
  private static final MethodHandle DESTROY_EXEC = Driver.bind("cuGraphExecDestroy", JAVA_LONG);

  private GraphDriver() {}

  static void begin(long stream) {
    try {
      Driver.check((int) BEGIN.invokeExact(stream, RELAXED), "cuStreamBeginCapture");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  /** Ends a capture; the graph, or 0 if the capture had failed. */
  static long end(long stream) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      int code = (int) END.invokeExact(stream, result);
      long graph = result.get(JAVA_LONG, 0);
      if (graph == 0) {
        Driver.check(code, "cuStreamEndCapture");
      }
      return code == 0 ? graph : 0;
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  /** The node of what was captured last. */
  static long lastNode(long stream) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(JAVA_LONG, 5);
      int code =
          (int)
              INFO.invokeExact(
                  stream, out, out.asSlice(8), out.asSlice(16), out.asSlice(24), out.asSlice(32));
      Driver.check(code, "cuStreamGetCaptureInfo");
      long count = out.get(JAVA_LONG, 32);
      if (out.get(JAVA_INT, 0) != ACTIVE || count != 1) {
        throw new IllegalStateException(
            "a launch has " + count + " nodes at the end of the captured work instead of one");
      }
      return out.get(ADDRESS, 24).reinterpret(8).get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  static long nodes(long graph) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(JAVA_LONG);
      Driver.check((int) NODES.invokeExact(graph, MemorySegment.NULL, count), "cuGraphGetNodes");
      return count.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  static long instantiate(long graph) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_LONG);
      Driver.check((int) INSTANTIATE.invokeExact(result, graph, 0L), "cuGraphInstantiate");
      return result.get(JAVA_LONG, 0);
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  static void launch(long exec, long stream) {
    try {
      Driver.check((int) LAUNCH.invokeExact(exec, stream), "cuGraphLaunch");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  /** Gives the launch of a node another shape and arguments; holds for later runs of the graph. */
  static void setKernel(
      long exec, long node, long function, int[] grid, int[] block, int shared, long arguments) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment p = arena.allocate(NODE_PARAMS, 8);
      p.set(JAVA_LONG, 0, function);
      for (int i = 0; i < 3; i++) {
        p.set(JAVA_INT, 8 + 4L * i, grid[i]);
        p.set(JAVA_INT, 20 + 4L * i, block[i]);
      }
      p.set(JAVA_INT, 32, shared);
      p.set(JAVA_LONG, 40, arguments);
      Driver.check((int) SET_KERNEL.invokeExact(exec, node, p), "cuGraphExecKernelNodeSetParams");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  static void destroy(long graph) {
    try {
      Driver.check((int) DESTROY.invokeExact(graph), "cuGraphDestroy");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  static void destroyExec(long exec) {
    try {
      Driver.check((int) DESTROY_EXEC.invokeExact(exec), "cuGraphExecDestroy");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }
}
