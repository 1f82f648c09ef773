// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

/**
 * A program, or options of one, that several processes can run together which mpirun has started.
 * Programs that are not, and have no such options, refuse to be started so: each process would do
 * all of the work, and write the same files as the others.
 */
public interface Together {}
