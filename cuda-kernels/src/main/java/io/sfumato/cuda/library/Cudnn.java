// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.cuda.driver.Gpu;
import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import jcuda.JCudaVersion;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnHandle;

/**
 * cuDNN 9, bound to one device and its stream: its handle through JCudnn, its {@link CudnnBackend
 * backend} by {@code java.lang.foreign}. Calls are made one at a time, under the lock of this
 * object.
 */
public final class Cudnn {
  private static final Logger LOG = System.getLogger(Cudnn.class.getName());
  private static final String LIBRARY = "libcudnn.so.9";
  // What cuDNN loads when it needs it, and finds by these names if they are loaded already.
  private static final List<String> HELPERS =
      List.of("libnvrtc.so", "libcublasLt.so", "libcublas.so");
  private static final List<String> COMPILER_PARTS = // whose minor version counts
      List.of("13.0", "13.1", "13.2", "13.3", "12.9", "12.8", "12.6", "12.4");

  private final Gpu gpu;
  private final NativeLibrary library;
  private final CudnnBackend backend;
  private final Handle handle = new Handle();

  /** A handle that tells its address. */
  private static final class Handle extends cudnnHandle {
    long address() {
      return getNativePointer();
    }
  }

  private Cudnn(Gpu gpu, NativeLibrary library) throws MissingLibraryException {
    this.gpu = gpu;
    this.library = library;
    this.backend = new CudnnBackend(library);
    gpu.enter();
    int status = JCudnn.cudnnCreate(handle);
    if (status != 0) {
      throw new MissingLibraryException("cudnnCreate reported status " + status);
    }
    MethodHandle setStream = library.function("cudnnSetStream", JAVA_LONG, JAVA_LONG);
    try {
      status = (int) setStream.invokeExact(handle.address(), gpu.stream());
    } catch (Throwable t) {
      throw new MissingLibraryException("cudnnSetStream failed", t);
    }
    if (status != 0) {
      throw new MissingLibraryException("cudnnSetStream reported status " + status);
    }
  }

  /**
   * Binds the library to a device.
   *
   * @param search where to look
   * @param cuda13 whether the driver is new enough for CUDA 13
   * @throws MissingLibraryException if it cannot be used
   */
  public static Cudnn open(LibrarySearch search, boolean cuda13, Gpu gpu)
      throws MissingLibraryException {
    gpu.enter();
    for (String version : COMPILER_PARTS) {
      tryOpen(search, List.of("libnvrtc-builtins.so." + version));
    }
    for (String helper : HELPERS) {
      tryOpen(search, Versions.files(helper, cuda13));
    }
    NativeLibrary library = NativeLibrary.open(search, List.of(LIBRARY));
    library.require("cudnnCreate", "cudnnGetVersion");
    try {
      load();
      return new Cudnn(gpu, library);
    } catch (LinkageError | RuntimeException e) {
      throw new MissingLibraryException("JCudnn cannot be loaded: " + e.getMessage(), e);
    }
  }

  private static void tryOpen(LibrarySearch search, List<String> files) {
    try {
      NativeLibrary.open(search, files);
    } catch (MissingLibraryException e) {
      LOG.log(Level.DEBUG, "cuDNN does without: {0}", e.getMessage());
    }
  }

  /**
   * Loads the native part of JCudnn. That of JCudnn 12.6 is made for cuDNN 9 and fits the Java part
   * of 11.7, the last one published.
   */
  private static void load() throws MissingLibraryException {
    String name = "libJCudnn-" + JCudaVersion.get() + "-linux-x86_64.so";
    try (InputStream in = ClassLoader.getSystemResourceAsStream("lib/" + name)) {
      if (in == null) {
        throw new MissingLibraryException(
            "lib/" + name + " is not on the class path; add org.jcuda:jcudnn-natives");
      }
      Path placed = NativesCache.ofThisUser().place(name, in.readAllBytes());
      JCudaLoader.load(placed, JCudnn::initialize);
    } catch (IOException e) {
      throw new MissingLibraryException("JCudnn cannot be prepared: " + e.getMessage(), e);
    }
  }

  /** The library's version, as it tells it: 92400 for 9.24.0. */
  public long version() {
    return JCudnn.cudnnGetVersion();
  }

  /** The library's file and version. */
  public String name() {
    return library.path() + ", version " + JCudnn.cudnnGetVersion();
  }

  Gpu gpu() {
    return gpu;
  }

  /** The address of the handle (cudnnHandle_t). */
  long handle() {
    return handle.address();
  }

  CudnnBackend backend() {
    return backend;
  }
}
