//! The names of all attacks, by family.
//!
//! The programs and the suite both include this list. The build fails if a name has no program or
//! no definition, and if a program or a definition is not in the list.

macro_rules! attacks {
    ($with:ident) => {
        $with! {
            processes: fork_bomb, vfork_bomb, thread_bomb, exec_bomb, zombie_flood,
                subreaper_flood, daemon_after_the_end, holder_of_stdout, ignore_every_signal,
                stopped_for_ever, stuck_in_vfork, new_session, stop_the_supervisor,
                kill_the_supervisor, kill_everything, kill_a_host_process, signal_the_group,
                churn_of_processes;
            time: spin, spin_in_threads, spin_in_children, sleep_for_ever, read_for_ever,
                set_the_clock, time_namespace, raise_priority;
            memory: touch, touch_in_a_child, touch_shared, fill_tmpfs, fill_memfd, fill_segment,
                page_out;
            writing: endless_stdout, endless_stderr, endless_both, binary_output,
                escape_sequences, more_than_a_pipe, small_writes;
            space: fill_tmp, fill_box, reserve, sparse_then_touch, many_files, many_directories,
                many_links, write_to_the_system, make_devices, dump_core, open_many_files,
                lease_a_shared_file, stubborn_files;
            results: absolute_link, relative_link, chain_of_links, linked_directory, hard_link,
                fifo, socket, magic_link, sparse_file, many_results, strange_names, deep_results;
            privileges: unshare_user, unshare_others, clone_user, clone3_user, join_namespace,
                become_root, drop_no_new_privs, raise_capabilities, read_supervisor_memory,
                trace_supervisor, trace_host_process, read_process_memory, take_descriptor,
                compare_processes, advise_a_process, core_of_another;
            kernel: mount_tmpfs, mount_bind, remount_root, unmount, new_mount_api, pivot,
                change_root, file_handles, keyrings, io_uring, bpf, perf_events, user_faults, kexec,
                load_module, quotas, swap, restart, kernel_log, accounting, io_ports, fanotify,
                move_pages, local_descriptors, host_name, calls_of_x32, calls_of_i386;
            files: read_a_host_file, write_a_host_file, see_host_processes, kernel_memory,
                kernel_settings, sysrq, release_agent, raw_devices, inherited_descriptors,
                host_environment;
            sockets: abstract_socket, path_socket, vsock, netlink_route, netlink_diag,
                netlink_firewall, crypto_socket, packet_socket, shared_segment, message_queue;
            network: tcp_loopback, tcp_loopback_v6, udp_loopback, raw_sockets, metadata_service,
                inbound;
            terminal: type_ahead, paste, take_terminal;
            spoofing: exit_like_a_timeout, exit_like_a_kill, kill_itself, forged_report,
                closed_streams, deep_recursion;
            reuse: leave_files, leave_segment, leave_queue, leave_abstract_socket,
                leave_process, leave_host_name, leave_keys, leave_oom_score;
        }
    };
}
