//! The cases for every [`Engine`](crucible_core::Engine).
//!
//! The root file system of the engine under test must contain `sh`, `python3` and `cc`.
//!
//! If the host has waived a layer, a case that depends on the layer asserts only two things: the
//! engine refuses an evaluation that requires the layer, and outcomes report the layer as `waived`.

mod support;

suite! {
    $
    /// Generates a test for each case of [`engine`](crate::engine). The arguments are the name of a
    /// module and a closure that creates an engine.
    engine_conformance: engine with dyn Engine;

    verdicts:
        exit_3_is_exited,
        exit_124_is_not_a_timeout,
        exit_137_is_not_a_kill,
        own_sigsegv_is_signaled,
        own_sigkill_is_signaled,
        endless_sleep_exceeds_wall,
        ignored_signals_exceed_wall,
        self_stop_exceeds_wall,
        busy_loop_exceeds_cpu,
        busy_loop_in_four_threads_exceeds_cpu,
        busy_loop_in_children_exceeds_cpu,
        large_allocation_exceeds_memory,
        gradual_allocation_exceeds_memory,
        child_allocation_exceeds_memory,
        fork_bomb_exceeds_processes,
        thread_bomb_exceeds_processes,
        endless_stdout_exceeds_output,
        endless_stderr_exceeds_output,
        full_tmp_exceeds_disk,
        full_work_dir_exceeds_disk,
        full_tmp_inodes_exceed_disk,
        full_work_dir_inodes_exceed_disk,
        freed_disk_space_is_only_a_program_error,
        stack_overflow_is_signaled,
        missing_program_is_not_started,
        non_executable_file_is_not_started,
        file_of_unknown_format_is_not_started,
        missing_directory_is_not_started,
        syntax_error_is_compile_failed,
        endless_compilation_is_compile_failed,
        compiler_cannot_read_host_files,
        compiled_program_runs;
    leftovers:
        daemon_holding_stdout_does_not_delay_outcome,
        double_forked_process_is_killed,
        surviving_processes_are_counted;
    output:
        large_output_is_counted_exactly,
        output_beyond_pipe_capacity_does_not_deadlock,
        output_bytes_are_kept_unchanged,
        live_output_is_complete_and_ordered,
        dropped_output_receiver_does_not_stop_run,
        stalled_output_receiver_does_not_block_outcome;
    input:
        stdin_delivers_given_bytes,
        missing_stdin_is_end_of_file,
        unread_stdin_is_not_an_error,
        stdin_beyond_pipe_capacity_arrives,
        arguments_arrive_unchanged,
        environment_has_only_given_variables,
        input_files_are_in_place,
        executable_input_file_can_run,
        many_input_files_are_in_place;
    isolation:
        network_is_unreachable,
        host_processes_are_invisible,
        host_files_are_invisible,
        host_descriptors_are_not_inherited,
        only_scratch_directories_are_writable,
        program_has_no_privileges,
        host_name_differs_from_host,
        next_sandbox_starts_empty,
        concurrent_sandboxes_share_nothing,
        signals_stay_inside_sandbox,
        guest_process_survives_program_attacks,
        nested_namespaces_are_refused,
        reported_layers_match_kernel_state;
    artifacts:
        matching_files_are_collected,
        links_and_fifos_are_skipped,
        collection_bounds_are_enforced,
        non_utf8_names_are_listed_as_skipped;
    races:
        excess_files_are_skipped_with_bounded_report,
        growing_file_is_read_within_bounds,
        directory_swapped_for_link_is_not_followed,
        device_file_is_not_collected;
    sessions:
        commands_share_one_file_system,
        background_process_outlives_command,
        files_can_be_written_read_and_listed,
        links_are_not_followed,
        fifo_read_does_not_block,
        files_are_accessible_while_command_runs,
        stdin_can_be_streamed,
        signals_reach_the_command,
        cancelled_command_keeps_sandbox_usable,
        command_at_limit_keeps_sandbox_usable,
        large_file_round_trips_unchanged,
        close_ends_all_processes,
        limits_are_counted_per_command;
    lifecycle:
        run_cancelled_before_start_is_not_started,
        run_cancelled_while_running_keeps_output,
        run_cancelled_while_compiling_is_cancelled,
        dropped_run_leaves_no_state,
        concurrent_runs_get_their_own_results,
        usage_is_reported_on_every_ending;
    requests:
        invalid_evaluation_reports_every_problem,
        unenforceable_requirement_is_refused,
        too_long_argument_list_is_refused,
        too_many_variables_are_refused,
        zero_and_overflowing_limits_are_refused,
        lost_secret_is_refused_by_name,
        healthy_engine_passes_health_check;
}
