#include <windows.h>

/* python.exe: the part of CPython that the wheel leaves out.
   PYTHON_DLL is defined by the command that compiles this: L"python313t.dll". */

typedef int (*main_function)(int, wchar_t **);

int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(PYTHON_DLL);
    main_function py_main = python ? (main_function)(void *)GetProcAddress(python, "Py_Main") : 0;
    return py_main ? py_main(argc, argv) : 120;
}
