#include <stdio.h>
#include <windows.h>

/* supervise.exe COMMAND: run a command so that it and its children end when this process does,
   and fold its exit code of 32 bits into the 8 that POSIX keeps. */

static BOOL WINAPI leave_it_to_the_child(DWORD event)
{
    (void)event; /* the child gets Ctrl-C too */
    return TRUE;
}

static const wchar_t *after_first_argument(const wchar_t *line)
{
    int quoted = 0;
    for (; *line && (quoted || (*line != L' ' && *line != L'\t')); line++)
        if (*line == L'"')
            quoted = !quoted;
    while (*line == L' ' || *line == L'\t')
        line++;
    return line;
}

int wmain(void)
{
    wchar_t *command = _wcsdup(after_first_argument(GetCommandLineW()));
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    STARTUPINFOW startup;
    PROCESS_INFORMATION child;
    DWORD code = 121;

    /* The job dies with its only handle, which is ours, and takes along every process in it. */
    HANDLE job = CreateJobObjectW(NULL, NULL);
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);

    GetStartupInfoW(&startup);
    /* One time in a thousand Wine 8 fails by itself, with ERROR_INTERNAL_ERROR. */
    for (int tries = 1; !CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL,
                                        NULL, &startup, &child); tries++)
        if (tries == 3 || GetLastError() != ERROR_INTERNAL_ERROR) {
            fprintf(stderr, "run.py: Windows error %lu at the start of python.exe\n",
                    GetLastError());
            return 121;
        }
    AssignProcessToJobObject(job, child.hProcess);
    SetConsoleCtrlHandler(leave_it_to_the_child, TRUE);
    ResumeThread(child.hThread);

    /* Were they left open here, nobody would see that the child closed its own. */
    CloseHandle(GetStdHandle(STD_INPUT_HANDLE));
    CloseHandle(GetStdHandle(STD_OUTPUT_HANDLE));

    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &code);
    if (code <= 255)
        return code;
    if (code == (DWORD)STATUS_CONTROL_C_EXIT)
        return 130; /* as shells say for SIGINT */
    fprintf(stderr, "run.py: Python ended with Windows exit code 0x%08lX\n", code);
    return 255;
}
