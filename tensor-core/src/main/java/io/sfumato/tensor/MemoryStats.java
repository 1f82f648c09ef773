// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Memory of one device, in bytes.
 *
 * @param live what tensors hold now
 * @param peak the most they held since the last reset
 * @param reserved what the pool has taken from the system
 * @param buffers the number of live buffers
 */
public record MemoryStats(long live, long peak, long reserved, long buffers) {}
