//! What every [`Engine`](crucible_core::Engine) must do.
//!
//! The root file system of the engine under test must have `sh`, `python3` and `cc`.
//!
//! Where the host has waived a layer, a case that depends on it asserts that an evaluation which requires the layer is
//! refused, and that outcomes say `waived`; it asserts no more.

mod support;

suite! {
    $
    /// Makes a test of each case of [`engine`](crate::engine) for a kind of engine: the module's name, and a closure that
    /// makes an engine.
    engine_conformance: engine with dyn Engine;

    verdicts:
        exit_3,
        exit_124_is_no_timeout,
        exit_137_is_no_kill,
        a_signal_of_its_own,
        a_kill_of_its_own,
        sleeping_for_ever_is_wall,
        deaf_to_signals_is_wall,
        stopping_itself_is_wall,
        spinning_is_cpu,
        spinning_in_four_threads_is_cpu,
        spinning_in_children_is_cpu,
        allocating_is_memory,
        allocating_bit_by_bit_is_memory,
        allocating_in_a_child_is_memory,
        a_fork_bomb_is_processes,
        a_thread_bomb_is_processes,
        endless_stdout_is_output,
        endless_stderr_is_output,
        filling_tmp_is_disk,
        filling_the_box_is_disk,
        filling_tmp_with_inodes_is_disk,
        filling_the_box_with_inodes_is_disk,
        filling_up_and_tidying_is_an_error_that_the_program_sees,
        a_stack_overflow_is_a_signal,
        no_such_program_is_not_started,
        a_file_that_may_not_be_executed_is_not_started,
        a_file_that_is_no_program_is_not_started,
        no_such_directory_is_not_started,
        a_syntax_error_is_compile_failed,
        a_compiler_without_end_is_compile_failed,
        a_compiler_sees_no_secret,
        a_compiled_program_runs;
    leftovers:
        a_daemon_that_holds_stdout_delays_nothing,
        a_double_fork_is_ended,
        what_is_left_behind_is_counted;
    output:
        much_output_is_counted_exactly,
        more_than_a_pipe_holds_is_no_deadlock,
        bytes_are_kept_as_they_are,
        live_output_is_all_of_it_in_order,
        a_receiver_that_is_gone_disturbs_nothing,
        a_receiver_that_does_not_receive_holds_up_nothing;
    input:
        stdin_is_what_was_given,
        no_stdin_is_its_end,
        stdin_that_is_not_read_is_no_error,
        more_stdin_than_a_pipe_holds_arrives,
        arguments_arrive_as_they_are,
        the_environment_is_what_was_given_and_nothing_else,
        files_are_in_place,
        a_program_that_was_given_can_be_executed,
        many_files_are_in_place;
    isolation:
        there_is_no_network,
        no_process_of_the_host_is_seen,
        no_file_of_the_host_is_seen,
        no_descriptor_is_inherited,
        only_the_places_to_write_to_can_be_written_to,
        the_program_is_nobody_special,
        the_host_has_another_name,
        nothing_is_left_for_the_next,
        two_at_once_do_not_meet,
        signals_do_not_leave,
        the_sandbox_takes_no_harm_from_inside,
        namespaces_cannot_be_nested,
        the_kernel_says_so_too;
    artifacts:
        what_matches_comes_out,
        links_and_fifos_do_not_come_out,
        bounds_hold,
        names_that_are_no_text_are_listed;
    moving:
        a_hundred_thousand_files_are_too_many,
        a_file_that_grows_while_it_is_read,
        a_directory_that_becomes_a_link,
        a_device_does_not_come_out;
    sessions:
        commands_share_a_place,
        what_runs_in_the_background_goes_on,
        files_can_be_written_read_and_listed,
        links_are_not_followed,
        a_fifo_blocks_nobody,
        files_can_be_used_while_a_command_runs,
        input_can_be_streamed,
        signals_reach_the_command,
        a_command_that_is_cancelled_leaves_the_sandbox,
        a_command_at_its_limit_leaves_the_sandbox,
        a_large_file_goes_there_and_back,
        closing_ends_everything,
        limits_hold_for_each_command;
    lifecycle:
        cancelled_before_it_began,
        cancelled_while_it_runs,
        cancelled_while_it_compiles,
        a_run_that_is_dropped_leaves_nothing,
        many_at_once_are_all_right,
        usage_is_there_on_every_ending;
    requests:
        every_problem_is_reported,
        what_cannot_be_enforced_is_refused,
        an_argument_list_that_is_too_long_is_refused,
        too_many_variables_are_refused,
        limits_that_are_none_are_refused,
        a_lost_secret_is_named,
        an_engine_that_is_well_says_so;
}
