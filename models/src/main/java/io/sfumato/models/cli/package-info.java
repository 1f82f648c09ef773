// SPDX-License-Identifier: Apache-2.0
/**
 * The command line: {@link io.sfumato.models.cli.Sfumato} puts all programs behind one name, {@link
 * io.sfumato.models.cli.Program} runs each; the tools for files are here, the programs that train
 * and draw in {@code examples}. Programs of other modules are found by {@link
 * io.sfumato.models.cli.ProgramProvider}.
 */
@NullMarked
package io.sfumato.models.cli;

import org.jspecify.annotations.NullMarked;
